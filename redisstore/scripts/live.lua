-- Counts challenges by the minute in which they die. What dies later than the
-- last minute was counted by a clock that was ahead.
-- KEYS: live. ARGV: this minute, the last, life in ms, then minutes and how many more.
for i = 4, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local live = 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local dies = tonumber(all[i])
  if dies < tonumber(ARGV[1]) or dies > tonumber(ARGV[2]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    live = live + tonumber(all[i + 1])
  end
end
return math.max(live, 0)
