-- mark_outbox: have the sweep take up outbox entries that have lost their mark.
-- KEYS[1]  outbox      hash  <shard>:outbox
-- KEYS[2]  outbox_due  zset  <shard>:outbox-due
-- ARGV[1+] id          string entries
-- Returns  {"ok"}
-- Holds    one that has been done meanwhile, or has its mark, is left alone
-- @include run
local outbox, outbox_due = KEYS[1], KEYS[2]
local now = int(now_ms())
for _, id in ipairs(ARGV) do
  if redis.call('HEXISTS', outbox, id) == 1 then redis.call('ZADD', outbox_due, 'NX', now, id) end
end
return {'ok'}
