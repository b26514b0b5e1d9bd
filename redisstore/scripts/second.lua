-- Claims the second try of a challenge, and counts it.
-- KEYS: challenge, failures, windows, then counters.
-- ARGV: now, sending, states that failed, 4 member, 5 how long before now the try counts for a
-- number, 6 failures, 7 counters.
local c = read(KEYS[1], 'r', 'q', 'j')
local why = over(c)
if why then return answer(c, why) end
if c[7] ~= ARGV[2] or c[12] == '1' or (c[11] or '') == '' or not string.find(ARGV[3], ',' .. c[10] .. ',', 1, true) then
  return {'done'}
end
local f, limit, wait = failures(KEYS[2], ARGV[6])
if f then limit, wait = locked(f.known, f) end
local list = counters(7, 4)
if not limit then limit, wait = refuses(list) end
if limit then return answer(c, 'limit', limit, wait) end
redis.call('HSET', KEYS[1], 'j', '1')
for _, k in ipairs(list) do
  widen(k, KEYS[3])
  add(k.taken, ARGV[4], k.longest)
  if k.limit == 'per_number' then redis.call('ZADD', k.taken, int(now - tonumber(ARGV[5])), ARGV[4]) end
end
return answer(c, 'ok')
