-- revive takes back one of the things that ended a challenge. Nothing of its
-- name is a pattern: it is of letters and digits.
local function revive(key, ender)
  local m = redis.call('HGET', key, 'm')
  if not m then return 0 end
  local left, found = string.gsub(m, ender .. ' ', '')
  if found > 0 then change(key, 'm', left) end
  return found
end
