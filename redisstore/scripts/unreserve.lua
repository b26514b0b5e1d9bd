-- Takes back a reservation whose answer was lost: nothing was sent for it.
-- KEYS: challenge, former, live, then what was taken. ARGV: now, id, former's id or '', member.
for i = 4, #KEYS do redis.call('ZREM', KEYS[i], ARGV[4]) end
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[3], ARGV[2])
if ARGV[3] ~= '' and redis.call('HGET', KEYS[2], 'm') == ARGV[2] then
  redis.call('HDEL', KEYS[2], 'm')
  redis.call('ZADD', KEYS[3], redis.call('HGET', KEYS[2], 'd'), ARGV[3])
end
return 1
