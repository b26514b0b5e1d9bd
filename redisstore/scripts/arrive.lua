-- Applies a delivery report to a challenge. It returns whether that moved it.
-- KEYS: challenge. ARGV: now, channel, sending, state, what it supersedes, its effect.
local moved = report(KEYS[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
if moved == 1 then wake(ARGV[2]) end
return moved
