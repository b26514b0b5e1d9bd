-- Keeps an entry of the archive.
-- No number is given twice, even if a replica has taken over that did not have the
-- latest numbers. So the number is the time in microseconds, or the next number if
-- that is higher.
-- KEYS: sequence, log, values. ARGV: life in ms, name, value, now in microseconds.
if redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1 then return 0 end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
local number = redis.call('INCR', KEYS[1])
if number < tonumber(ARGV[4]) then
  number = ARGV[4]
  redis.call('SET', KEYS[1], number)
end
redis.call('ZADD', KEYS[2], number, ARGV[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
return 1
