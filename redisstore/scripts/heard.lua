-- Returns what a message id stands for; '' if that is not known yet, and then
-- keeps the state of its report.
-- KEYS: message. ARGV: now, for how long in ms, state, what it supersedes.
local known = redis.call('GET', KEYS[1]) or '0'
local early, sent = string.match(known, '^(%d+) ?(.*)$')
if sent ~= '' then return sent end
if string.find(ARGV[4], ',' .. early .. ',', 1, true) then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
end
return ''
