-- putmark writes a mark. Redis keeps it a minute longer, for nodes whose clock
-- is behind.
local function putmark(key, m)
  local text = int(m.till) .. ' ' .. m.nonce .. ' ' .. int(m.made)
  if m.work then text = '0 ' .. m.nonce .. ' ' .. int(m.made) .. ' ' .. int(m.till) end
  redis.call('SET', key, text, 'PX', int(math.max(0, math.ceil((m.till - now) / 1000)) + 60000))
end

-- judged reads a mark, nil if it is over. One that was made in the future, by
-- a clock that was ahead, counts as made now: it ends its life from now.
local function judged(key)
  local m = mark(key)
  if not m then return end
  if m.made and m.made > now then
    m.made, m.till = now, now + (m.till - m.made)
    putmark(key, m)
  end
  if m.till > now then return m end
end
