-- Counts live challenges by the minute in which they die. Challenges that die after
-- the last minute were counted by a clock that was ahead, and do not count.
-- KEYS: live. ARGV: this minute, the last minute, life in ms, then pairs: a minute
-- and the change of its count.
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
