-- take_unarchived: find ended runs that wait to be archived, and hold them for a while so that others leave them alone.
-- KEYS[1]  unarchived  zset  <shard>:unarchived
-- ARGV[1]  limit       int   most runs
-- ARGV[2]  hold_ms     int   for which a found one is left alone
-- Returns  {run...}
-- Cost     O(limit)
-- @include run
local unarchived = KEYS[1]
local now = now_ms()
local runs = redis.call('ZRANGEBYSCORE', unarchived, '-inf', int(now), 'LIMIT', 0, ARGV[1])
for _, run in ipairs(runs) do redis.call('ZADD', unarchived, int(now + ARGV[2]), run) end
return runs
