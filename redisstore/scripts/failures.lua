-- The failures of a number (its wrong codes) are a hash. Its fields are
--   s   the failures without a known device
--   d…  those of one device; the rest of the name is the device's digest
--   o   those that all devices beyond the fourth share
-- A value is 'until count moment moment …':
--   until   when the latest lock ends; -1: only an operator ends it
--   count   how many wrong codes there were
--   moment  when each of the latest hundred wrong codes came
-- Other fields belong to a version of this program that knows more.
local most, devices, years = 100, 4, 365 * 24 * 3600 * 1000

-- parse reads a value as a list of numbers: until, count, moments.
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

-- settle moves each moment that is in the future to now, and reports whether
-- there was one. If such a moment caused the latest lock, settle brings the end
-- of the lock forward by as much. It leaves a lock alone that began before.
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

-- by returns when the lock ends that the lockout l causes for the failures s.
-- It returns 0 if there is none.
local function by(s, l)
  if l.count <= 0 or s[2] < l.count then return 0 end
  local i = #s - s[2] % l.count
  if i < 3 then return 0 end
  return s[i] + l.span
end

-- locked returns the limit that refuses the failures s, and the wait in
-- microseconds. A wait of 0 lasts until an operator unlocks the number.
local function locked(s, l)
  if not s then return end
  if s[1] < 0 or l.max > 0 and s[2] >= l.max then return 'max_failures', 0 end
  local wait = math.max(s[1], by(s, l)) - now
  if wait > 0 then return 'lockout', wait end
end

-- failures reads the failures that text names, as failuresOf in args.go writes
-- it: 'count span max field', or '' if wrong codes do not count. It returns the
-- lockout together with the known failures, which are nil if there are none.
local function failures(key, text)
  if text == '' then return end
  local count, span, max, field = string.match(text, '^(%d+) (%d+) (%d+) (.*)$')
  local f = {key = key, field = field, count = tonumber(count), span = tonumber(span), max = tonumber(max)}
  text = redis.call('HGET', key, field)
  if not text and field ~= 's' then
    local known = 0
    for _, name in ipairs(redis.call('HKEYS', key)) do
      if name == 'o' or string.sub(name, 1, 1) == 'd' then known = known + 1 end
    end
    if known >= devices then
      f.field = 'o'
      text = redis.call('HGET', key, 'o')
    end
  end
  if text then
    f.known = parse(text)
    if settle(f.known) then write(key, f.field, f.known) end
  end
  return f
end

-- fail counts a wrong code, and sets the lock if the lockout demands one. Redis
-- keeps the hash for a year after the latest failure. It keeps a hash with a lock
-- that only an operator ends for 100 years.
local function fail(f)
  local s = f.known or {0, 0}
  s[2] = s[2] + 1
  s[#s + 1] = now
  if #s - 2 > most then table.remove(s, 3) end
  if f.max > 0 and s[2] >= f.max then
    s[1] = -1
  elseif s[1] >= 0 then
    s[1] = math.max(s[1], by(s, f))
  end
  f.known = s
  write(f.key, f.field, s)
  local life = years
  if s[1] < 0 then life = 100 * years end
  if redis.call('PTTL', f.key) < life then redis.call('PEXPIRE', f.key, int(life)) end
end
