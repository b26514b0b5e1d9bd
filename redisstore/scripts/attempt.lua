-- Counts an attempt, and then compares. The proofs are keyed hashes, which
-- nobody outside can choose, and equal strings are one string to Lua: how
-- long it takes to compare tells nothing of them. If the code was right it
-- returns when the challenge was to die.
-- KEYS: challenge, run. ARGV: now, channel, nonce, proof, run.

-- The common case comes first, and costs as little as it can: right, and
-- nothing is counted against whoever answers.
local f = redis.call('HMGET', KEYS[1], 'p', 'm', 'd', 'a', 'o')
if f[1] == ARGV[4] and f[2] == '' and tonumber(f[3]) > tonumber(ARGV[1]) and f[4] ~= '0' and f[5] ~= '0'
  and (ARGV[5] == '' or redis.call('EXISTS', KEYS[2]) == 0) then
  redis.call('HSET', KEYS[1], 'm', ARGV[3] .. ' ')
  redis.pcall('PUBLISH', ARGV[2], '')
  return tonumber(f[3])
end
