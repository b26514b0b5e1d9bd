-- A challenge is a hash:
--   u status        l length of the code   a attempts left    d when it dies
--   e resend after, as of the latest sending at z (none: b)   t settled              n sendings         s the code, sealed
--   m what ended it: the attempts that met it and the ids of its successors,
--     several where an answer was lost; or ''
--   p proof         o sendings that may have arrived          b born
--   g attempts that were left when the latest sending began   r delivery state
--   w the latest sending that WebSMS made the code for        f refused sendings
--   x the wrong attempts, y the resends: nonces, so that each is done once
--   k proof and d in one, while the right code opens it; or '', see change.lua
-- A version of this program that knows more fields keeps them there: what is
-- not read here is not touched.

-- begin has a challenge begin now that a clock which was ahead has made, or
-- sent again: it lives for as long, and no longer.
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

-- over says why there is no challenge to speak of, nil if there is one.
local function over(c)
  if not c[1] or c[9] ~= '' then return 'none' end
  if now >= tonumber(c[4]) then return 'expired' end
  if c[3] == '0' then return 'dead' end
end

-- answer is what a script returns: its outcome, which limit refused and for
-- how long, and the challenge.
local function answer(c, outcome, limit, wait)
  return {outcome, limit or '', int(wait or 0), c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]}
end

-- keep says how long Redis keeps a challenge that dies at that time: a minute
-- more, in which its code is known to have expired.
local function keep(key, dies)
  redis.call('PEXPIRE', key, int(math.max(0, math.ceil((dies - now) / 1000)) + 60000))
end
