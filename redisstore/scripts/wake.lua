-- wake tells the nodes where somebody watches the challenge. Who may not
-- publish (an ACL) may do everything else.
local function wake(channel) redis.pcall('PUBLISH', channel, '') end
