-- finish_outbox: forget outbox entries that have been done.
-- KEYS[1]  outbox      hash  <shard>:outbox
-- KEYS[2]  outbox_due  zset  <shard>:outbox-due
-- ARGV[1+] id          string entries done
-- Returns  {"ok"}
local outbox, outbox_due = KEYS[1], KEYS[2]
for _, id in ipairs(ARGV) do
  redis.call('HDEL', outbox, id)
  redis.call('ZREM', outbox_due, id)
end
return {'ok'}
