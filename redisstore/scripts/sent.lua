-- Keeps the sending of a message id. It returns the state of a report that came
-- before. It keeps that state too, because the node may ask again.
-- KEYS: message. ARGV: now, life in ms, the sending.
local early = string.match(redis.call('GET', KEYS[1]) or '', '^%d+') or '0'
redis.call('SET', KEYS[1], early .. ' ' .. ARGV[3], 'PX', ARGV[2])
return early
