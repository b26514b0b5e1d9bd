-- Makes a challenge, and counts its sending in every counter. If it replaces another
-- challenge, it returns when that one was to die.
-- KEYS: challenge, former challenge, failures, windows, the number's challenges, then
-- counters.
-- ARGV: now, id, the former's id or '', channel of the former, member of the counters,
-- 6 sealed, proof, length, attempts, dies, resend after, 12 failures,
-- 13 latest possible end, 14 longest life in ms, 15 envelope or '', 16 counters.
if redis.call('EXISTS', KEYS[1]) == 1 then return {'ok'} end -- asked again
local limit, wait
local f = failures(KEYS[3], ARGV[12])
if f then limit, wait = locked(f.known, f) end
if limit and wait == 0 then return {'limit', limit, '0'} end
local list = counters(16, 6)
limit, wait = refuses(list, limit, wait)
if limit then return {'limit', limit, int(wait)} end

-- The fields of an attempt come first, because Redis searches a small hash from its
-- beginning.
redis.call('HSET', KEYS[1], 'k', ARGV[7] .. ARGV[10], 'm', '', 'p', ARGV[7], 'd', ARGV[10], 'a', ARGV[9], 'o', '1',
  'u', 'queued', 'l', ARGV[8], 'e', ARGV[11], 't', '0', 'n', '1', 'g', ARGV[9], 'b', ARGV[1], 'w', '0', 'r', '0', 'f', ',',
  's', ARGV[6])
if ARGV[15] ~= '' then redis.call('HSET', KEYS[1], 'q', ARGV[15]) end
keep(KEYS[1], tonumber(ARGV[10]))
take(list, ARGV[5], KEYS[4])
if ARGV[12] ~= '' then -- an operator can list the latest challenges of a number
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', int(now))
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '(' .. int(tonumber(ARGV[13]) + ahead - now), '+inf')) do
    redis.call('ZADD', KEYS[5], ARGV[13], id)
  end
  for _, oldest in ipairs(redis.call('ZREVRANGE', KEYS[5], 99, -1)) do redis.call('ZREM', KEYS[5], oldest) end
  redis.call('ZADD', KEYS[5], ARGV[13], ARGV[2])
  redis.call('PEXPIRE', KEYS[5], ARGV[14])
end
if ARGV[3] ~= '' then
  local former = redis.call('HMGET', KEYS[2], 'd', 'm')
  if former[1] then -- also if it has ended, because its end may be taken back
    change(KEYS[2], 'm', former[2] .. ARGV[2] .. ' ')
  end
  if former[2] == '' then
    wake(ARGV[4])
    return {'ok', '', '0', former[1]}
  end
end
return {'ok'}
