-- Gives a key to a holder, or renews the lease of that holder. It returns 0, or -1
-- if the key is done, or the microseconds until the lease of another holder ends.
-- KEYS: key. ARGV: now, holder, lease.
local m = judged(KEYS[1])
if m and not m.work then return -1 end
if m and m.nonce ~= ARGV[2] then return m.till - now end
putmark(KEYS[1], {work = true, nonce = ARGV[2], made = now, till = now + tonumber(ARGV[3])})
return 0
