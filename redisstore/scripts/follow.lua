-- Returns the epoch, whether Redis has lost entries since a mark, and the entries
-- since that mark. Redis loses entries if it is emptied, or if a replica takes over
-- that did not have all of them. The script then returns all entries.
-- KEYS: epoch, sequence, log, values, keys.
-- ARGV: a new epoch, the epoch of the mark, its number, life in ms, most entries.
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch, 'PX', ARGV[4])
end
local since, emptied = ARGV[3], 0
if ARGV[2] ~= epoch or tonumber(since) > tonumber(redis.call('GET', KEYS[2]) or 0) then
  since = '0'
  if ARGV[2] ~= '' then emptied = 1 end
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) - 24 * 3600 * 1000 then -- once a day
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[4]) end
end
return {epoch, emptied, redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', '0', ARGV[5])}
