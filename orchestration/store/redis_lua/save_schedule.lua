-- save_schedule: make or change a schedule, unless something else has changed it since the caller read it.
-- KEYS[1]  schedule   hash   <shard>:sch:<schedule id>
-- KEYS[2]  schedules  zset   <shard>:schedules
-- KEYS[3]  due        zset   <shard>:schedules-due
-- ARGV[1]  id         string of the schedule
-- ARGV[2]  version    int    as the caller read it; 0: there must be no such schedule yet
-- ARGV[3]  commit     string unique to this change; the same again is answered as the first time
-- ARGV[4]  definition bytes  what it is; empty: as it was
-- ARGV[5]  state      bytes  where it stands
-- ARGV[6]  look       string time of the next look in ms; empty: none
-- ARGV[7]  waits      string 1 when the end of a run changes what happens next, else 0
-- Returns  {"saved", version} | {"changed", version} | {"exists"} | {"missing"}
-- Holds    all or nothing; of two who read the same version one can write
-- Cost     O(1)
local schedule, schedules, due = KEYS[1], KEYS[2], KEYS[3]
local id, version, commit, definition, look = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]

local f = redis.call('HMGET', schedule, 'version', 'commit')
if f[1] and f[2] == commit then return {'saved', f[1]} end
if f[1] and version == '0' then return {'exists'} end
if not f[1] and version ~= '0' then return {'missing'} end
if f[1] and f[1] ~= version then return {'changed', f[1]} end

redis.call('HSET', schedule, 'commit', commit, 'state', ARGV[5], 'waits', ARGV[7])
if definition ~= '' then redis.call('HSET', schedule, 'definition', definition) end
redis.call('ZADD', schedules, 0, id)
if look == '' then redis.call('ZREM', due, id) else redis.call('ZADD', due, look, id) end
return {'saved', string.format('%.0f', redis.call('HINCRBY', schedule, 'version', 1))}
