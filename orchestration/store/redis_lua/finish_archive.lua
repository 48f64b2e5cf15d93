-- finish_archive: a run has been archived: what is left of its retention begins to count.
-- KEYS[1]  unarchived  zset  <shard>:unarchived
-- KEYS[2]  record      hash  <shard>:run:<run>
-- KEYS[3]  extra       hash  <shard>:extra:<run>
-- KEYS[4]  history     list  <shard>:hist:<run>
-- KEYS[5]  updates     hash  <shard>:updates:<run>
-- ARGV[1]  run         string
-- ARGV[2]  retention_ms int
-- Returns  {"done"} | {"gone"}
-- Holds    safe to repeat: the lifetime ends at the same time
-- @include run
local unarchived, record, extra, history, updates = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local closed = redis.call('HGET', record, 'closed')
redis.call('ZREM', unarchived, ARGV[1])
if not closed then return {'gone'} end
local left = int(math.max(closed + ARGV[2] - now_ms(), 1000))
redis.call('PEXPIRE', record, left)
redis.call('PEXPIRE', extra, left)
redis.call('PEXPIRE', history, left)
redis.call('PEXPIRE', updates, left)
return {'done'}
