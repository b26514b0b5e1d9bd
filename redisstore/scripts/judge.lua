-- What is left of an attempt: all that is not that simple.
local c = read(KEYS[1], 'p', 'o', 'x')
local wrong = c[12] or ''
if c[9] and string.find(c[9], ARGV[3], 1, true) then return tonumber(c[4]) end -- asked again
local r = run(KEYS[2], ARGV[5])
if string.find(wrong, ARGV[3], 1, true) then -- asked again
  if r then return answer(c, 'wrong', locked(r.streak, r)) end
  return answer(c, 'wrong')
end
local why = over(c)
if why then return answer(c, why) end
if r then
  local limit, wait = locked(r.streak, r)
  if limit then return answer(c, 'limit', limit, wait) end
end
if ARGV[4] == c[10] and c[11] ~= '0' then -- what was refused each time, nobody can know
  change(KEYS[1], 'm', ARGV[3] .. ' ')
  if r and r.streak and r.field ~= 'o' then redis.call('HDEL', KEYS[2], r.field) end
  wake(ARGV[2])
  return tonumber(c[4])
end
c[3] = int(tonumber(c[3]) - 1)
change(KEYS[1], 'a', c[3], 'x', wrong .. ARGV[3] .. ' ')
wake(ARGV[2])
if not r then return answer(c, 'wrong') end
fail(r)
return answer(c, 'wrong', locked(r.streak, r))
