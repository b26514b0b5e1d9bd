-- A challenge is a hash:
--   u status        l length of the code   a attempts left    d when it dies
--   e resend after  t settled              n sendings         s the code, sealed
--   m what ended it: the attempts that met it and the ids of its successors,
--     several where an answer was lost; or ''
--   p proof         o sendings that may have arrived          b born
--   g attempts that were left when the latest sending began   r delivery state
--   w the latest sending that WebSMS made the code for        f refused sendings
--   x the wrong attempts, y the resends: nonces, so that each is done once
--   k proof and d in one, while the right code opens it; or '', see change.lua
local function read(key, ...)
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
