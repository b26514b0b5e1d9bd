-- Ends the lease of a holder, if that holder still has the key. With an empty
-- holder it forgets the key in any case.
-- KEYS: key. ARGV: holder.
local m = mark(KEYS[1])
if m and (ARGV[1] == '' or m.work and m.nonce == ARGV[1]) then return redis.call('DEL', KEYS[1]) end
return 0
