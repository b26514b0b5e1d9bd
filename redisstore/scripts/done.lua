-- Marks a key as done until a time. The script may run late, so it keeps a mark
-- that ends later.
-- KEYS: key. ARGV: now, until, nonce.
local m = mark(KEYS[1])
if m and not m.work and m.till >= tonumber(ARGV[2]) then return 0 end
putmark(KEYS[1], {nonce = ARGV[3], made = now, till = tonumber(ARGV[2])})
return 1
