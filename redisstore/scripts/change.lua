-- change writes fields of a challenge, and what follows from them: the key k,
-- which the common attempt needs and nothing else.
local function change(key, ...)
  redis.call('HSET', key, ...)
  local c = redis.call('HMGET', key, 'p', 'd', 'm', 'a', 'o')
  local k = ''
  if c[3] == '' and c[4] ~= '0' and c[5] ~= '0' then k = c[1] .. c[2] end
  redis.call('HSET', key, 'k', k)
end
