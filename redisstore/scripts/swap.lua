-- Replaces a value, if it is what it is thought to be.
-- KEYS: key. ARGV: life in ms, former value or '', next.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[1])
return 1
