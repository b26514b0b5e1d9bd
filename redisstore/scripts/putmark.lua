-- putmark writes a mark. Redis keeps it for a minute longer than it counts, for
-- nodes whose clock is behind.
local function putmark(key, m)
  local text = int(m.till) .. ' ' .. m.nonce .. ' ' .. int(m.made)
  if m.work then text = '0 ' .. m.nonce .. ' ' .. int(m.made) .. ' ' .. int(m.till) end
  redis.call('SET', key, text, 'PX', int(math.max(0, math.ceil((m.till - now) / 1000)) + 60000))
end

-- judged reads a mark, and returns nil if the mark is over. A mark from the future
-- was made by a clock that was ahead. It counts as made now, and lives as long.
local function judged(key)
  local m = mark(key)
  if not m then return end
  if m.made and m.made > now then
    m.made, m.till = now, now + (m.till - m.made)
    putmark(key, m)
  end
  if m.till > now then return m end
end
