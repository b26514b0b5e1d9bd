-- wake tells the nodes that watch the challenge about a change. pcall ignores an
-- error: a user without that permission can still do everything else.
local function wake(channel) redis.pcall('PUBLISH', channel, '') end
