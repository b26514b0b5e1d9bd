-- Replaces a value if it equals the former value. It returns 1 if it did.
-- KEYS: key. ARGV: life in ms, former value or '', next.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[1])
return 1
