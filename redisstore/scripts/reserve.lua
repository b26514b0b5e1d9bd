-- Makes a challenge, and takes its sending from every counter.
-- KEYS: challenge, former, live, run, windows, then counters.
-- ARGV: now, id, former's id or '', channel of former, counters' member,
-- 6 sealed, proof, length, attempts, dies, resend after, 12 run, 16 counters.
if redis.call('EXISTS', KEYS[1]) == 1 then return {'ok'} end -- asked again
local limit, wait
local r = run(KEYS[4], 12)
if r then limit, wait = locked(r.streak, r) end
if limit and wait == 0 then return {'limit', limit, '0'} end
local list = counters(16, 6)
limit, wait = refuses(list, limit, wait)
if limit then return {'limit', limit, int(wait)} end

redis.call('HSET', KEYS[1], 'u', 'queued', 's', ARGV[6], 'p', ARGV[7], 'l', ARGV[8], 'a', ARGV[9], 'g', ARGV[9],
  'd', ARGV[10], 'e', ARGV[11], 'b', ARGV[1], 't', '0', 'n', '1', 'o', '1', 'w', '0', 'r', '0', 'f', ',', 'k', ARGV[3])
keep(KEYS[1], tonumber(ARGV[10]))
take(list, ARGV[5], KEYS[5])
redis.call('ZADD', KEYS[3], ARGV[10], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[1])
redis.call('PEXPIRE', KEYS[3], '3600000')
if ARGV[3] ~= '' then
  local former = redis.call('HMGET', KEYS[2], 'u', 'm')
  if former[1] and not former[2] then
    redis.call('HSET', KEYS[2], 'm', ARGV[2])
    redis.call('ZREM', KEYS[3], ARGV[3])
    wake(ARGV[4])
  end
end
return {'ok'}
