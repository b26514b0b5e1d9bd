-- counters reads what a sending is counted under at ARGV[a], and where from
-- KEYS[k] on: two sorted sets each, of what was taken and what was given back.
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

-- room returns how long it takes until one more is within every rate: the
-- event that must have left a window is the count-th from its end. What a
-- clock that was ahead has counted is moved to now; what another node's clock
-- has, that may be ahead, counts as now, and stays for that node.
local function room(key, rates)
  for _, event in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. int(ahead), '+inf')) do
    redis.call('ZADD', key, int(now), event)
  end
  local longest = 0
  for _, r in ipairs(rates) do
    local event = redis.call('ZREVRANGE', key, int(r.count - 1), int(r.count - 1), 'WITHSCORES')
    if event[2] then longest = math.max(longest, math.min(tonumber(event[2]), now) + r.window - now) end
  end
  return longest
end

-- widen makes a counter remember as long as the most demanding gate of the
-- scope asks, whoever counts: windows holds the longest of each limit.
local function widen(c, windows)
  local known = tonumber(redis.call('HGET', windows, c.limit) or 0)
  if c.longest < known then
    c.longest = known
    return
  end
  redis.call('HSET', windows, c.limit, int(c.longest))
  redis.call('PEXPIRE', windows, int(365 * 24 * 3600 * 1000))
end

-- add counts an event now, and forgets what nobody asks for: not by a node
-- whose clock is up to half an hour behind either.
local function add(key, member, longest)
  redis.call('ZADD', key, int(now), member)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now - longest - 1800000000))
  redis.call('PEXPIRE', key, int(math.ceil(longest / 1000) + 1860000))
end

-- refuses returns the limit that keeps the asker waiting longest, and how
-- long; limit and wait are of one that refuses already.
local function refuses(list, limit, wait)
  for _, c in ipairs(list) do
    local w = room(c.taken, c.rates)
    if w > 0 and (not limit or w > wait) then limit, wait = c.limit, w end
  end
  return limit, wait
end

-- take counts one sending under each.
local function take(list, member, windows)
  for _, c in ipairs(list) do
    widen(c, windows)
    add(c.taken, member, c.longest)
  end
end
