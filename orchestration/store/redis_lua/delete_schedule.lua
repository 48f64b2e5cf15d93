-- delete_schedule: forget a schedule. The runs that it has started are left alone.
-- KEYS[1]  schedule   hash   <shard>:sch:<schedule id>
-- KEYS[2]  schedules  zset   <shard>:schedules
-- KEYS[3]  due        zset   <shard>:schedules-due
-- ARGV[1]  id         string of the schedule
-- Returns  {"deleted"} | {"missing"}
-- Cost     O(1)
local schedule, schedules, due = KEYS[1], KEYS[2], KEYS[3]
redis.call('ZREM', schedules, ARGV[1])
redis.call('ZREM', due, ARGV[1])
if redis.call('DEL', schedule) == 0 then return {'missing'} end
return {'deleted'}
