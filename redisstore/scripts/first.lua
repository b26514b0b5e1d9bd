-- Reports whether a key is new until some time, and remembers it.
-- KEYS: key. ARGV: now, until, nonce.
local m = judged(KEYS[1])
if m and not m.work then
  if m.nonce == ARGV[3] then return 1 end -- asked again
  return 0
end
putmark(KEYS[1], {nonce = ARGV[3], made = now, till = tonumber(ARGV[2])})
return 1
