-- Takes another sending of a challenge from the counters.
-- KEYS: challenge, live, run, windows, then counters.
-- ARGV: now, id, channel, nonce, 5 ttl, cooldown, longest life, most sendings,
-- 9 counters' member but for the sending, 10 run, 14 counters.
local c = read(KEYS[1], 'b', 'o', 'y')
if c[12] == ARGV[4] then return answer(c, 'ok') end -- asked again
local why = over(c)
if why then return answer(c, why) end
local sendings, dies = tonumber(c[7]), tonumber(c[4])
local limit, wait = nil, tonumber(c[5]) - now
if sendings >= tonumber(ARGV[8]) then wait = math.max(wait, dies - now) end
if wait > 0 then limit = 'cooldown' end
local r = run(KEYS[3], 10)
if r then
  local lock, left = locked(r.streak, r)
  if lock and left == 0 then return answer(c, 'limit', lock, 0) end
  if lock and (not limit or left > wait) then limit, wait = lock, left end
end
local list = counters(14, 5)
limit, wait = refuses(list, limit, wait)
if limit then return answer(c, 'limit', limit, wait) end

local resend = now + tonumber(ARGV[6]) * 2 ^ sendings
dies = math.min(math.max(dies, now + tonumber(ARGV[5])), tonumber(c[10]) + tonumber(ARGV[7]))
c[1], c[4], c[5], c[6], c[7] = 'queued', int(dies), int(resend), '0', int(sendings + 1)
redis.call('HSET', KEYS[1], 'u', c[1], 'd', c[4], 'e', c[5], 't', c[6], 'n', c[7], 'r', '0',
  'o', int(tonumber(c[11]) + 1), 'g', c[3], 'y', ARGV[4])
keep(KEYS[1], dies)
take(list, ARGV[9] .. c[7], KEYS[4])
redis.call('ZADD', KEYS[2], c[4], ARGV[2])
wake(ARGV[3])
return answer(c, 'ok')
