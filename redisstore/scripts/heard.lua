-- Returns the sending of a message id. If it is not known yet, the script keeps
-- the state of the report for Settle, and returns ''.
-- KEYS: message. ARGV: now, life in ms, state, the states it supersedes.
local known = redis.call('GET', KEYS[1]) or '0'
local early, sent = string.match(known, '^(%d+) ?(.*)$')
if sent ~= '' then return sent end
if string.find(ARGV[4], ',' .. early .. ',', 1, true) then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
end
return ''
