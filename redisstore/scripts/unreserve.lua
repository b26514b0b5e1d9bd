-- Takes back a reservation with a lost answer, because nothing was sent.
-- KEYS: challenge, former, then the taken sets. ARGV: id, the former's id or '', member.
for i = 3, #KEYS do redis.call('ZREM', KEYS[i], ARGV[3]) end
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
if ARGV[2] ~= '' then revive(KEYS[2], ARGV[1]) end
return 1
