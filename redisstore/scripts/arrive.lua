-- Applies a delivery report to a challenge. It returns 1 if the status changed, else 0.
-- KEYS: challenge. ARGV: now, channel, sending, state, the states it supersedes, its status.
local moved = report(KEYS[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
if moved == 1 then wake(ARGV[2]) end
return moved
