-- Counts one try, unless a rate is exhausted. It returns how long to wait.
-- KEYS: windows, then one counter's. ARGV: now, member, 3 counters.
local list = counters(3, 2)
if redis.call('ZSCORE', list[1].taken, ARGV[2]) then return 0 end -- asked again
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', list[1].taken, '(' .. int(now), '+inf')) do
  redis.call('ZADD', list[1].taken, int(now), ahead) -- by a clock that was ahead: it counts as now
end
local limit, wait = refuses(list)
if limit then return wait end
take(list, ARGV[2], KEYS[1])
return 0
