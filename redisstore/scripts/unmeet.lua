-- Opens a challenge again whose right answer nobody got word of: no session
-- came of it.
-- KEYS: challenge, live. ARGV: now, id, channel, nonce.
local c = redis.call('HMGET', KEYS[1], 'm', 'd')
if c[1] ~= ARGV[4] then return 0 end
redis.call('HDEL', KEYS[1], 'm')
redis.call('ZADD', KEYS[2], c[2], ARGV[2])
wake(ARGV[3])
return 1
