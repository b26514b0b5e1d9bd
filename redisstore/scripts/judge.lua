-- What is left of an attempt: all that is not that simple.
local c = read(KEYS[1], 'p', 'o', 'x')
if c[9] and c[9] == ARGV[4] then return 1 end -- asked again
local why = over(c)
if why then return answer(c, why) end
local r = run(KEYS[3], 6)
if c[12] == ARGV[4] then -- asked again
  if r then return answer(c, 'wrong', locked(r.streak, r)) end
  return answer(c, 'wrong')
end
if r then
  local limit, wait = locked(r.streak, r)
  if limit then return answer(c, 'limit', limit, wait) end
end
c[3] = int(tonumber(c[3]) - 1)
if ARGV[5] == c[10] and c[11] ~= '0' then -- what was refused each time, nobody can know
  redis.call('HSET', KEYS[1], 'a', c[3], 'm', ARGV[4])
  redis.call('ZREM', KEYS[2], ARGV[2])
  if r and r.streak and r.field ~= 'o' then redis.call('HDEL', KEYS[3], r.field) end
  wake(ARGV[3])
  return 1
end
redis.call('HSET', KEYS[1], 'a', c[3], 'x', ARGV[4])
wake(ARGV[3])
if not r then return answer(c, 'wrong') end
fail(r)
return answer(c, 'wrong', locked(r.streak, r))
