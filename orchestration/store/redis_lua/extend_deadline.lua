-- extend_deadline: put a run's deadline off once, so that its code can clean up.
-- KEYS[1]  record    hash    <shard>:run:<run>
-- KEYS[2]  timers    zset    <shard>:timers
-- ARGV[1]  member    string  the deadline, which must be due
-- ARGV[2]  grace_ms  int
-- Returns  {"extended"} | {"over"} | {"early"}
-- Holds    a run is given the time once, whichever of its deadlines comes first; the deadline of the whole workflow is
--          put off once, however many runs it goes on as
-- @include run
local record, timers, member = KEYS[1], KEYS[2], ARGV[1]
local due, now = redis.call('ZSCORE', timers, member), now_ms()
if not due or tonumber(due) > now then return {'early'} end
local graced = redis.call('HMGET', record, 'graced', 'final')
if graced[1] or graced[2] then return {'over'} end
local put_off = int(now + ARGV[2])
redis.call('HSET', record, 'graced', int(now))
if string.sub(member, -5) == '/exec' then redis.call('HSET', record, 'deadline', put_off, 'final', int(now)) end
redis.call('ZADD', timers, put_off, member)
return {'extended'}
