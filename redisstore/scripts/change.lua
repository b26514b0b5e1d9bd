-- change writes fields of a challenge, and the field k that depends on them.
-- attempt.lua reads only k in the common case.
local function change(key, ...)
  redis.call('HSET', key, ...)
  local c = redis.call('HMGET', key, 'p', 'd', 'm', 'a', 'o')
  local k = ''
  if c[3] == '' and c[4] ~= '0' and c[5] ~= '0' then k = c[1] .. c[2] end
  redis.call('HSET', key, 'k', k)
end
