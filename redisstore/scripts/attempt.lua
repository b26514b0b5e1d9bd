-- Counts an attempt and compares the proofs. If the code was right, it returns
-- when the challenge was to die. Otherwise judge.lua goes on.
-- The time of the comparison tells nothing about the proofs: they are keyed
-- hashes, which nobody outside can choose, and Lua compares equal strings by
-- their address.
-- KEYS: challenge, failures. ARGV: now, channel, nonce, proof, failures, reuse time, now in
-- nanoseconds, '1' if a code that was right before is to be told of as used.

-- The common case comes first and is cheap: the code is right, and the number
-- has no failures. A code lives for ten minutes at most; a longer life means that
-- a clock was ahead, and judge.lua corrects that.
local k = redis.call('HGET', KEYS[1], 'k')
local life = k and k ~= '' and tonumber(string.sub(k, 33)) - tonumber(ARGV[1])
if life and life > 0 and life <= 600000000 and string.sub(k, 1, 32) == ARGV[4]
  and (ARGV[5] == '' or redis.call('EXISTS', KEYS[2]) == 0) then
  redis.call('HSET', KEYS[1], 'k', '', 'm', ARGV[3] .. ' ', 'v', ARGV[3] .. ' ' .. ARGV[1] .. ' ' .. ARGV[7])
  wake(ARGV[2])
  return tonumber(string.sub(k, 33))
end
