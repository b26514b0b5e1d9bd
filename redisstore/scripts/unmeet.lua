-- Opens a challenge again whose right answer nobody got word of: no session
-- came of it.
-- KEYS: challenge. ARGV: channel, nonce.
if redis.call('HGET', KEYS[1], 'm') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'm', '')
redis.pcall('PUBLISH', ARGV[1], '')
return 1
