-- report applies a delivery report of one sending: its state, the states that
-- it supersedes, and the status that it makes. Of a sending that was followed
-- by another only its arrival matters: the code is the same.
local function report(key, sending, state, superseded, effect)
  local c = redis.call('HMGET', key, 'n', 'r', 'u', 'm')
  if not c[1] or c[4] ~= '' then return 0 end
  if sending ~= c[1] and effect ~= 'delivered' then return 0 end
  if not string.find(superseded, ',' .. c[2] .. ',', 1, true) then return 0 end
  local status = effect
  if effect == 'accepted' and c[3] ~= 'queued' and c[3] ~= 'failed' then status = c[3] end
  redis.call('HSET', key, 'r', state, 'u', status)
  if status == c[3] then return 0 end
  return 1
end
