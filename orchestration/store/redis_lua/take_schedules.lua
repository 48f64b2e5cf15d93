-- take_schedules: find the schedules of one shard that are due, and hold them for a moment so that others leave them alone.
-- KEYS[1]  due        zset   <shard>:schedules-due
-- ARGV[1]  limit      int    most schedules
-- ARGV[2]  hold_ms    int    for which a found one is left alone
-- Returns  {"taken", time, {id...}, time of the next look that is not due yet, or ""}
-- Holds    two callers at the same time are given different schedules
-- Cost     O(limit)
-- @include run
local due = KEYS[1]
local now = now_ms()
local ids = redis.call('ZRANGEBYSCORE', due, '-inf', int(now), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do redis.call('ZADD', due, int(now + ARGV[2]), id) end
local next = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
return {'taken', int(now), ids, next[2] or ''}
