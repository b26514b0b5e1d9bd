-- Reports whether a key is new until some time, and remembers it.
-- KEYS: key. ARGV: now, until, for how long in ms, nonce.
local known = redis.call('GET', KEYS[1])
if known then
  local till, nonce = string.match(known, '^(%d+) (.*)$')
  if nonce == ARGV[4] then return 1 end -- asked again
  if tonumber(till) > now then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[4], 'PX', ARGV[3])
return 1
