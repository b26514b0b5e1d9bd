-- Deletes entries of the archive.
-- KEYS: log, values. ARGV: names.
for _, name in ipairs(ARGV) do
  redis.call('HDEL', KEYS[2], name)
  redis.call('ZREM', KEYS[1], name)
end
return 1
