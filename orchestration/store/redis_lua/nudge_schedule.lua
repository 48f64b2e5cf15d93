-- nudge_schedule: tell a schedule that a run of it has ended, so that what waits for that is looked at now.
-- KEYS[1]  schedule   hash   <shard>:sch:<schedule id>
-- KEYS[2]  due        zset   <shard>:schedules-due
-- ARGV[1]  id         string of the schedule
-- Returns  {"nudged"} | {"quiet"} | {"missing"}
-- Holds    who has read the schedule and has not seen the end of the run cannot write any more: it reads again
-- Cost     O(1)
-- @include run
local schedule, due = KEYS[1], KEYS[2]
local waits = redis.call('HGET', schedule, 'waits')
if not waits then return {'missing'} end
redis.call('HINCRBY', schedule, 'version', 1)
if waits ~= '1' then return {'quiet'} end
local now, at = now_ms(), redis.call('ZSCORE', due, ARGV[1])
if not at or tonumber(at) > now then redis.call('ZADD', due, int(now), ARGV[1]) end
return {'nudged'}
