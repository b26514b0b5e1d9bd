-- Times are microseconds since 1970, by the clock of the caller. They are whole
-- numbers, which a float of 53 bits holds exactly.
local now = tonumber(ARGV[1])

-- A stored time beyond ahead was written by a clock that was ahead, and counts as
-- now. The clocks of nodes may differ by half an hour (otp.Skew).
local ahead = now + 1800000000

-- int writes a whole number for Redis. Lua's own conversion loses digits.
local function int(n) return string.format('%.0f', n) end
