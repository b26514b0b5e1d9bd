-- Records the outcome of a sending, and gives a refused one back to the counters.
-- KEYS: challenge, windows, then counters.
-- ARGV: now, channel, sending, status, refused,
-- 6 the code that WebSMS made: sealed, proof, length,
-- 9 a report that came before: state, the states it supersedes, its status,
-- 12 member of the counters, the time when it was counted, 14 counters.
local c = redis.call('HMGET', KEYS[1], 'n', 'r', 'm', 'd', 'a', 'g', 'o', 'w', 'f')
if not c[1] or c[3] ~= '' then return 0 end
local sending, latest = tonumber(ARGV[3]), ARGV[3] == c[1]
local set = {'f', c[9]}
local function put(field, value) set[#set + 1] = field; set[#set + 1] = value end
if ARGV[6] ~= '' and sending > tonumber(c[8]) then
  put('s', ARGV[6]); put('p', ARGV[7]); put('l', ARGV[8]); put('w', ARGV[3])
end
if latest then put('t', '1') end
if latest and c[2] == '0' then put('u', ARGV[4]) end
local refused = ARGV[5] == '1' and not string.find(c[9], ',' .. ARGV[3] .. ',', 1, true) -- each sending once
if refused then
  set[2] = c[9] .. ARGV[3] .. ','
  put('o', int(math.max(0, tonumber(c[7]) - 1)))
end
change(KEYS[1], unpack(set))
if refused and latest and now < tonumber(c[4]) and c[5] == c[6] then
  for _, k in ipairs(counters(14, 3)) do
    local taken = redis.call('ZSCORE', k.taken, ARGV[12])
    if taken and tonumber(taken) == tonumber(ARGV[13]) and room(k.returned, k.rates) <= 0 then
      widen(k, KEYS[2])
      add(k.returned, ARGV[12], k.longest)
      redis.call('ZREM', k.taken, ARGV[12])
    end
  end
end
if ARGV[9] ~= '0' then report(KEYS[1], ARGV[3], ARGV[9], ARGV[10], ARGV[11]) end
wake(ARGV[2])
return 1
