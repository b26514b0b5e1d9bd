-- A run of failures is a hash by number, of streaks: s for strangers, d… for
-- a device, o for the devices beyond the fourth. A streak is
-- 'until count moment moment …': when its latest lock ends (-1: when an
-- operator ends it), how many wrong codes, and when the latest hundred came.
-- Another field is of a version of this program that knows more.
local most, devices, years = 100, 4, 365 * 24 * 3600 * 1000

local function parse(text)
  local s = {}
  for n in string.gmatch(text, '%S+') do s[#s + 1] = tonumber(n) end
  return s
end

local function write(key, field, s)
  local text = {}
  for i, n in ipairs(s) do text[i] = int(n) end
  redis.call('HSET', key, field, table.concat(text, ' '))
end

-- settle moves what is in the future to now, and reports whether anything was.
-- The lock that one of them has made ends as much later than now as it would
-- have after that one; a lock of before they came stands as it is.
local function settle(s)
  local moved, maker = false, 0
  for i = 3, #s do
    if s[i] > ahead then
      moved = true
      if s[i] <= s[1] then maker = math.max(maker, s[i]) end
    end
  end
  if not moved then return false end
  for i = 3, #s do s[i] = math.min(s[i], now) end
  if maker > 0 then s[1] = s[1] - (maker - now) end
  return true
end

-- by returns when the lock ends that this lockout makes of a streak.
local function by(s, l)
  if l.count <= 0 or s[2] < l.count then return 0 end
  local i = #s - s[2] % l.count
  if i < 3 then return 0 end
  return s[i] + l.span
end

-- locked returns the limit that refuses, and for how long (0: until an
-- operator unlocks it).
local function locked(s, l)
  if not s then return end
  if s[1] < 0 or l.max > 0 and s[2] >= l.max then return 'max_failures', 0 end
  local wait = math.max(s[1], by(s, l)) - now
  if wait > 0 then return 'lockout', wait end
end

-- run reads whose failures count, and by which lockout: 'count span max field',
-- or '' where nobody's do.
local function run(key, text)
  if text == '' then return end
  local count, span, max, field = string.match(text, '^(%d+) (%d+) (%d+) (.*)$')
  local r = {key = key, field = field, count = tonumber(count), span = tonumber(span), max = tonumber(max)}
  text = redis.call('HGET', key, field)
  if not text and field ~= 's' then
    local known = 0
    for _, name in ipairs(redis.call('HKEYS', key)) do
      if name == 'o' or string.sub(name, 1, 1) == 'd' then known = known + 1 end
    end
    if known >= devices then
      r.field = 'o'
      text = redis.call('HGET', key, 'o')
    end
  end
  if text then
    r.streak = parse(text)
    if settle(r.streak) then write(key, r.field, r.streak) end
  end
  return r
end

-- fail counts a wrong code, and locks the run if that is one too many.
local function fail(r)
  local s = r.streak or {0, 0}
  s[2] = s[2] + 1
  s[#s + 1] = now
  if #s - 2 > most then table.remove(s, 3) end
  if r.max > 0 and s[2] >= r.max then
    s[1] = -1
  elseif s[1] >= 0 then
    s[1] = math.max(s[1], by(s, r))
  end
  r.streak = s
  write(r.key, r.field, s)
  local life = years
  if s[1] < 0 then life = 100 * years end
  if redis.call('PTTL', r.key) < life then redis.call('PEXPIRE', r.key, int(life)) end
end
