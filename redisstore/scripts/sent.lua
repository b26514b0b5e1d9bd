-- Remembers what a message id stands for. It returns the state of a report
-- that came before, and keeps it: this may be asked again.
-- KEYS: message. ARGV: now, for how long in ms, what it stands for.
local early = string.match(redis.call('GET', KEYS[1]) or '', '^%d+') or '0'
redis.call('SET', KEYS[1], early .. ' ' .. ARGV[3], 'PX', ARGV[2])
return early
