-- Opens a challenge again whose right answer nobody got word of: no session
-- came of it.
-- KEYS: challenge. ARGV: channel, nonce.
if revive(KEYS[1], ARGV[2]) == 0 then return 0 end
wake(ARGV[1])
return 1
