-- Ends the work of a holder, if it still has the key. An empty holder forgets
-- the key, whatever its mark says.
-- KEYS: key. ARGV: holder.
local m = mark(KEYS[1])
if m and (ARGV[1] == '' or m.work and m.nonce == ARGV[1]) then return redis.call('DEL', KEYS[1]) end
return 0
