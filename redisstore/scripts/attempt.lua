-- Counts an attempt, and then compares. The proofs are keyed hashes, which
-- nobody outside can choose, and equal strings are one string to Lua: how
-- long it takes to compare tells nothing of them. If the code was right it
-- returns when the challenge was to die.
-- KEYS: challenge, run. ARGV: now, channel, nonce, proof, run.

-- The common case comes first, and costs as little as it can: right, and
-- nothing is counted against whoever answers. No code lives for longer than
-- ten minutes, but by a clock that was ahead.
local k = redis.call('HGET', KEYS[1], 'k')
local life = k and k ~= '' and tonumber(string.sub(k, 33)) - tonumber(ARGV[1])
if life and life > 0 and life <= 600000000 and string.sub(k, 1, 32) == ARGV[4]
  and (ARGV[5] == '' or redis.call('EXISTS', KEYS[2]) == 0) then
  redis.call('HSET', KEYS[1], 'k', '', 'm', ARGV[3] .. ' ')
  wake(ARGV[2])
  return tonumber(string.sub(k, 33))
end
