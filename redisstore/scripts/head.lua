-- Times are microseconds since 1970, by the
-- caller's clock: whole numbers that a float of 53 bits holds exactly.
local now = tonumber(ARGV[1])

-- What is later than this was noted by a clock that was ahead: nodes' clocks
-- differ by less (otp.Skew). It counts as now.
local ahead = now + 1800000000

-- int writes a whole number as Redis reads it: Lua's own way loses digits.
local function int(n) return string.format('%.0f', n) end
