-- A stored challenge is a hash:
--   u  status
--   l  length of the code
--   a  attempts that are left
--   d  when it dies
--   e  when it may be sent again, after the latest sending
--   z  when the latest sending was counted; missing: b
--   t  1 if the latest sending is settled
--   n  number of sendings
--   s  the code, sealed
--   m  the nonces of the right attempts and the ids of the successors that ended
--      it; there are several if answers were lost; a nonce with a '!': that attempt
--      was told that the code was used, so the challenge stays ended if the one
--      before is taken back; '': it has not ended
--   p  proof
--   o  number of sendings that may have arrived
--   b  when it was made
--   g  attempts that were left when the latest sending began
--   r  delivery state
--   w  the latest sending that WebSMS made the code for
--   f  the sendings that WebSMS refused
--   x  nonces of the wrong attempts, so that each counts once
--   y  nonces of the resends, so that each counts once
--   v  the nonce of the latest right attempt, and its time in microseconds and in
--      nanoseconds; it counts while m has the nonce, and until a wrong code comes
--   q  the sealed envelope for a second try; missing: there is none
--   j  1 if the second try was claimed
--   k  p and d in one while the right code opens the challenge, else ''; see change.lua
-- A later version of this program may have more fields. The scripts do not touch
-- fields that they do not know.

-- begin corrects a challenge that a clock which was ahead has made or sent again:
-- its life and its cooldown begin now, and last as long as before.
local function begin(key)
  local c = redis.call('HMGET', key, 'b', 'z', 'd', 'e')
  local born, sent, dies, resend = tonumber(c[1]), tonumber(c[2] or c[1]), tonumber(c[3]), tonumber(c[4])
  if sent > ahead then
    resend = resend - (sent - now)
    sent = now
  end
  if born > ahead then
    dies = dies - (born - now)
    born = now
  end
  change(key, 'b', int(born), 'z', int(sent), 'd', int(dies), 'e', int(resend))
end

local function read(key, ...)
  local c = redis.call('HMGET', key, 'u', 'l', 'a', 'd', 'e', 't', 'n', 's', 'm', ...)
  if not c[1] or tonumber(c[4]) <= ahead and tonumber(c[5]) <= ahead then return c end
  begin(key)
  return redis.call('HMGET', key, 'u', 'l', 'a', 'd', 'e', 't', 'n', 's', 'm', ...)
end

-- over returns why a challenge cannot be used, or nil if it can.
local function over(c)
  if not c[1] or c[9] ~= '' then return 'none' end
  if now >= tonumber(c[4]) then return 'expired' end
  if c[3] == '0' then return 'dead' end
end

-- answer makes the reply of a script: the outcome, the limit that refuses, the wait
-- in microseconds, and the challenge.
local function answer(c, outcome, limit, wait)
  return {outcome, limit or '', int(wait or 0), c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]}
end

-- keep makes Redis keep a challenge until a minute after it dies. In that minute the
-- answer is that the code has expired.
local function keep(key, dies)
  redis.call('PEXPIRE', key, int(math.max(0, math.ceil((dies - now) / 1000)) + 60000))
end
