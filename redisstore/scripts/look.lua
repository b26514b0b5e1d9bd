-- Returns a challenge as it counts now.
-- KEYS: challenge. ARGV: now.
return read(KEYS[1])
