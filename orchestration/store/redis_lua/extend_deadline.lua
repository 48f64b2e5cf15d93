-- extend_deadline: put a run's deadline off once, so that its code can clean up.
-- KEYS[1]  record    hash    <shard>:run:<run>
-- KEYS[2]  timers    zset    <shard>:timers
-- ARGV[1]  member    string  the deadline, which must be due
-- ARGV[2]  grace_ms  int
-- Returns  {"extended"} | {"over"} | {"early"}
-- Holds    a run is given the time once, whichever of its deadlines comes first
-- @include run
local record, timers, member = KEYS[1], KEYS[2], ARGV[1]
local due, now = redis.call('ZSCORE', timers, member), now_ms()
if not due or tonumber(due) > now then return {'early'} end
if redis.call('HGET', record, 'graced') then return {'over'} end
redis.call('HSET', record, 'graced', int(now))
redis.call('ZADD', timers, int(now + ARGV[2]), member)
return {'extended'}
