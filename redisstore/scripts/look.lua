-- Returns a challenge, after moving times in the future to now.
-- KEYS: challenge. ARGV: now.
return read(KEYS[1])
