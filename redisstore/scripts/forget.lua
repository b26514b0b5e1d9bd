-- Ends the work of a holder, if it still has the key.
-- KEYS: key. ARGV: holder.
local m = mark(KEYS[1])
if m and m.work and m.nonce == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
