-- report applies a delivery report of one sending. superseded lists the states that
-- its state supersedes, and effect is the status that follows from it. It returns 1
-- if the status changed. For a sending that is not the latest, only its arrival
-- counts, because both sendings have the same code.
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
