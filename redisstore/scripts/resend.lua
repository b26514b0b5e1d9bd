-- Counts another sending of a challenge, and extends its life. After the challenge
-- it returns when the challenge was to die before.
-- KEYS: challenge, failures, windows, then counters.
-- ARGV: now, channel, nonce, ttl, 5 cooldown, longest life, most sendings,
-- 8 member of the counters without the sending's number, 9 failures, 10 counters.
local c = read(KEYS[1], 'b', 'o', 'y')
local resends = c[12] or ''
if string.find(resends, ARGV[3], 1, true) then return answer(c, 'ok') end -- asked again
local why = over(c)
if why then return answer(c, why) end
local sendings, dies = tonumber(c[7]), tonumber(c[4])
local limit, wait = nil, tonumber(c[5]) - now
if sendings >= tonumber(ARGV[7]) then wait = math.max(wait, dies - now) end
if wait > 0 then limit = 'cooldown' end
local f = failures(KEYS[2], ARGV[9])
if f then
  local lock, left = locked(f.known, f)
  if lock and left == 0 then return answer(c, 'limit', lock, 0) end
  if lock and (not limit or left > wait) then limit, wait = lock, left end
end
local list = counters(10, 4)
limit, wait = refuses(list, limit, wait)
if limit then return answer(c, 'limit', limit, wait) end

local was = c[4]
local resend = now + tonumber(ARGV[5]) * 2 ^ sendings
dies = math.min(math.max(dies, now + tonumber(ARGV[4])), tonumber(c[10]) + tonumber(ARGV[6]))
if sendings + 1 >= tonumber(ARGV[7]) then resend = math.max(resend, dies) end
c[1], c[4], c[5], c[6], c[7] = 'queued', int(dies), int(resend), '0', int(sendings + 1)
change(KEYS[1], 'u', c[1], 'd', c[4], 'e', c[5], 't', c[6], 'n', c[7], 'r', '0',
  'z', int(now), 'o', int(tonumber(c[11]) + 1), 'g', c[3], 'y', resends .. ARGV[3] .. ' ')
keep(KEYS[1], dies)
take(list, ARGV[8] .. c[7], KEYS[3])
wake(ARGV[2])
local done = answer(c, 'ok')
done[12] = was
return done
