-- Returns the records that were kept since a mark, and whether all was lost
-- since: Redis was emptied, or a replica that knew less has taken over.
-- KEYS: epoch, sequence, log, values, keys.
-- ARGV: a new epoch, the mark's, the mark's number, life in ms, most.
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
