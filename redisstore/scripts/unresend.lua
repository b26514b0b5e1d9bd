-- Settles a resend with a lost answer as failed, because nothing was sent.
-- KEYS: challenge, then the taken sets. ARGV: now, channel, nonce,
-- member of the counters without the sending's number.
local c = redis.call('HMGET', KEYS[1], 'y', 'n', 'o', 'f', 't')
if string.sub(c[1] or '', -#ARGV[3] - 1) ~= ARGV[3] .. ' ' or c[5] == '1' then return 0 end
change(KEYS[1], 't', '1', 'u', 'failed', 'o', int(math.max(0, tonumber(c[3]) - 1)), 'f', c[4] .. c[2] .. ',')
for i = 2, #KEYS do redis.call('ZREM', KEYS[i], ARGV[4] .. c[2]) end
wake(ARGV[2])
return 1
