-- Counts one try, unless a rate is exhausted. It returns the wait in microseconds, or 0.
-- KEYS: windows, then one counter's. ARGV: now, member, 3 counters.
local list = counters(3, 2)
if redis.call('ZSCORE', list[1].taken, ARGV[2]) then return 0 end -- asked again
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', list[1].taken, '(' .. int(now), '+inf')) do
  redis.call('ZADD', list[1].taken, int(now), ahead) -- a clock was ahead: the try counts as now
end
local limit, wait = refuses(list)
if limit then return wait end
take(list, ARGV[2], KEYS[1])
return 0
