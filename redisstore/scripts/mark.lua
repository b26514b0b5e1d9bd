-- A mark is the state of a key. It is 'until nonce made' for a key that is done, and
-- '0 holder made until' for a key that a holder has leased. Versions of this program
-- before leases wrote no 'made'. To them a lease looks like a mark that is over. So
-- they may do work twice, and lose nothing.
local function mark(key)
  local till, nonce, made, lease = string.match(redis.call('GET', key) or '', '^(%d+) (%S*) ?(%d*) ?(%d*)$')
  if not till then return end
  local work = till == '0'
  if work then till = lease end
  return {work = work, nonce = nonce, made = tonumber(made), till = tonumber(till) or 0}
end
