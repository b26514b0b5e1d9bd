-- Counts challenges by the minute in which they die.
-- KEYS: live. ARGV: this minute, life in ms, then minutes and how many more.
for i = 3, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local live = 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if tonumber(all[i]) < tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    live = live + tonumber(all[i + 1])
  end
end
return math.max(live, 0)
