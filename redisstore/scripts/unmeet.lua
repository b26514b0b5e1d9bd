-- Opens a challenge again after a right attempt with a lost answer, because no
-- session came of that attempt.
-- KEYS: challenge. ARGV: channel, nonce.
if revive(KEYS[1], ARGV[2]) == 0 then return 0 end
wake(ARGV[1])
return 1
