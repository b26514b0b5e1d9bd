-- Gives a key into the work of a holder, or renews its lease. It returns 0, -1
-- if the key is done, or how long the lease of another holder still runs.
-- KEYS: key. ARGV: now, holder, lease.
local m = judged(KEYS[1])
if m and not m.work then return -1 end
if m and m.nonce ~= ARGV[2] then return m.till - now end
putmark(KEYS[1], {work = true, nonce = ARGV[2], made = now, till = now + tonumber(ARGV[3])})
return 0
