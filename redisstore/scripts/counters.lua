-- counters reads the counters of a sending from ARGV[a] on, and their keys from
-- KEYS[k] on. Each counter has two sorted sets: the sendings that were counted
-- (taken), and those that were given back (returned).
local function counters(a, k)
  local list = {}
  for i = 1, tonumber(ARGV[a]) do
    local c = {limit = ARGV[a + 1], taken = KEYS[k], returned = KEYS[k + 1], longest = 0, rates = {}}
    for j = 1, tonumber(ARGV[a + 2]) do
      c.rates[j] = {count = tonumber(ARGV[a + 3]), window = tonumber(ARGV[a + 4])}
      c.longest = math.max(c.longest, c.rates[j].window)
      a = a + 2
    end
    a, k = a + 2, k + 2
    list[i] = c
  end
  return list
end

-- room returns the microseconds until every rate allows one more sending. A rate
-- allows it when the count-th latest sending has left the window. room moves
-- sendings far in the future to now, because a clock was ahead. A sending that is
-- less than half an hour in the future comes from the clock of another node. It
-- counts as now, and stays as it is for that node.
local function room(key, rates)
  for _, sending in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. int(ahead), '+inf')) do
    redis.call('ZADD', key, int(now), sending)
  end
  local longest = 0
  for _, r in ipairs(rates) do
    local sending = redis.call('ZREVRANGE', key, int(r.count - 1), int(r.count - 1), 'WITHSCORES')
    if sending[2] then longest = math.max(longest, math.min(tonumber(sending[2]), now) + r.window - now) end
  end
  return longest
end

-- widen makes a counter remember for as long as the gate with the longest window
-- in the scope needs. The hash windows holds the longest window of each limit.
local function widen(c, windows)
  local known = tonumber(redis.call('HGET', windows, c.limit) or 0)
  if c.longest < known then
    c.longest = known
    return
  end
  redis.call('HSET', windows, c.limit, int(c.longest))
  redis.call('PEXPIRE', windows, int(365 * 24 * 3600 * 1000))
end

-- add counts a member now, and forgets members that no rate needs. It keeps them
-- half an hour longer, for nodes with a clock that is behind.
local function add(key, member, longest)
  redis.call('ZADD', key, int(now), member)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now - longest - 1800000000))
  redis.call('PEXPIRE', key, int(math.ceil(longest / 1000) + 1860000))
end

-- refuses returns the limit with the longest wait, and that wait in microseconds.
-- limit and wait are those of a refusal that the caller has found already, or nil.
local function refuses(list, limit, wait)
  for _, c in ipairs(list) do
    local w = room(c.taken, c.rates)
    if w > 0 and (not limit or w > wait) then limit, wait = c.limit, w end
  end
  return limit, wait
end

-- take counts one sending in each counter.
local function take(list, member, windows)
  for _, c in ipairs(list) do
    widen(c, windows)
    add(c.taken, member, c.longest)
  end
end
