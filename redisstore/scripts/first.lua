-- Marks a key until a time. It returns 1 if the key was unknown, else 0.
-- KEYS: key. ARGV: now, until, nonce.
local m = judged(KEYS[1])
if m and not m.work then
  if m.nonce == ARGV[3] then return 1 end -- asked again
  return 0
end
putmark(KEYS[1], {nonce = ARGV[3], made = now, till = tonumber(ARGV[2])})
return 1
