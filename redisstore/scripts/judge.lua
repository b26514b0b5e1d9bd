-- Handles all attempts that attempt.lua leaves: all but the common right code.
local c = read(KEYS[1], 'p', 'o', 'x', 'v')
local wrong = c[12] or ''
if c[9] and string.find(c[9], '!' .. ARGV[3], 1, true) then -- asked again, about a code that was used
  local exact = c[13] and string.match(c[13], ' (%-?%d+)$')
  if exact then return answer(c, 'used', exact) end
  return answer(c, 'none')
end
if c[9] and string.find(c[9], ARGV[3], 1, true) then return tonumber(c[4]) end -- asked again
local f = failures(KEYS[2], ARGV[5])
if string.find(wrong, ARGV[3], 1, true) then -- asked again
  if f then return answer(c, 'wrong', locked(f.known, f)) end
  return answer(c, 'wrong')
end
local why = over(c)
if why == 'none' and c[13] then -- the code was right before
  local nonce, at, exact = string.match(c[13], '^(%w+) (%d+) (%-?%d+)$')
  if nonce and string.find(c[9], nonce .. ' ', 1, true) and now - tonumber(at) < tonumber(ARGV[6]) then
    if ARGV[4] == c[10] then
      if ARGV[8] ~= '1' then return answer(c, 'none') end -- nobody gets in, so the first attempt may be taken back
      if #c[9] < 2000 then redis.call('HSET', KEYS[1], 'm', c[9] .. '!' .. ARGV[3] .. ' ') end
      return answer(c, 'used', exact)
    end
    redis.call('HDEL', KEYS[1], 'v') -- no attempt is counted here, so there is one guess
  end
end
if why then return answer(c, why) end
if f then
  local limit, wait = locked(f.known, f)
  if limit then return answer(c, 'limit', limit, wait) end
end
if ARGV[4] == c[10] and c[11] ~= '0' then -- if WebSMS refused every sending, nobody can know the code
  change(KEYS[1], 'm', ARGV[3] .. ' ', 'v', ARGV[3] .. ' ' .. ARGV[1] .. ' ' .. ARGV[7])
  if f and f.known and f.field ~= 'o' then redis.call('HDEL', KEYS[2], f.field) end
  wake(ARGV[2])
  return tonumber(c[4])
end
c[3] = int(tonumber(c[3]) - 1)
change(KEYS[1], 'a', c[3], 'x', wrong .. ARGV[3] .. ' ')
wake(ARGV[2])
if not f then return answer(c, 'wrong') end
fail(f)
return answer(c, 'wrong', locked(f.known, f))
