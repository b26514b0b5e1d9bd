-- A mark says what became of a key. It is 'until nonce made' of a key that is
-- done, and '0 nonce made until' of one that is in work, for a lease; nonce is
-- its holder's. Versions before leases wrote no 'made'. To them a lease is
-- over: they do twice what another node may just do, and lose nothing.
local function mark(key)
  local till, nonce, made, lease = string.match(redis.call('GET', key) or '', '^(%d+) (%S*) ?(%d*) ?(%d*)$')
  if not till then return end
  local work = till == '0'
  if work then till = lease end
  return {work = work, nonce = nonce, made = tonumber(made), till = tonumber(till) or 0}
end
