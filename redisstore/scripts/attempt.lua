-- Counts an attempt, and then compares. The proofs are keyed hashes, which
-- nobody outside can choose, and equal strings are one string to Lua: how
-- long it takes to compare tells nothing of them.
-- KEYS: challenge, live, run.
-- ARGV: now, id, channel, nonce, proof, 6 run.

-- The common case comes first, and costs as little as it can: right, and
-- nothing is counted against whoever answers.
local f = redis.call('HMGET', KEYS[1], 'p', 'm', 'd', 'a', 'o')
if f[1] == ARGV[5] and not f[2] and tonumber(f[3]) > tonumber(ARGV[1]) and f[4] ~= '0' and f[5] ~= '0'
  and (ARGV[6] == '' or redis.call('EXISTS', KEYS[3]) == 0) then
  redis.call('HSET', KEYS[1], 'a', f[4] - 1, 'm', ARGV[4])
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.pcall('PUBLISH', ARGV[3], '')
  return 1
end
