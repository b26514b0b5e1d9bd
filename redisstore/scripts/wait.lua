-- Returns how many microseconds the counters and the failures refuse a resend. It returns
-- -1 if only an operator can unlock the number.
-- KEYS: failures, then counters. ARGV: now, failures, 3 counters.
local limit, wait
local f = failures(KEYS[1], ARGV[2])
if f then limit, wait = locked(f.known, f) end
if limit and wait == 0 then return -1 end
limit, wait = refuses(counters(3, 2), limit, wait)
return wait or 0
