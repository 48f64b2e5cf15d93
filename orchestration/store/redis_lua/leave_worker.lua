-- leave_worker: forget a process that has gone, unless it has been heard of after all.
-- KEYS[1]  workers  zset   orc:<namespace>:workers
-- ARGV[1]  owner    string
-- ARGV[2]  silent_ms int    only when it has been silent for so long; 0 for any
-- Returns  {"ok"} | {"alive"}
-- @include run
local workers, owner, silent_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local heard = redis.call('ZSCORE', workers, owner)
if heard and now_ms() - tonumber(heard) < silent_ms then return {'alive'} end
redis.call('ZREM', workers, owner)
return {'ok'}
