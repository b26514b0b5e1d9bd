-- revive takes back an attempt or a successor that ended a challenge, or an attempt
-- that was told that the code was used. ender is its nonce or its id. Both have only
-- letters and digits, so gsub sees no other pattern.
local function revive(key, ender)
  local m = redis.call('HGET', key, 'm')
  if not m then return 0 end
  local left, found = string.gsub(m, '!?' .. ender .. ' ', '')
  if found > 0 then change(key, 'm', left) end
  return found
end
