-- beat_worker: note that a process is alive.
-- KEYS[1]  workers  zset   orc:<namespace>:workers
-- ARGV[1]  owner    string
-- Returns  {"ok"}
-- @include run
local workers, owner = KEYS[1], ARGV[1]
redis.call('ZADD', workers, int(now_ms()), owner)
return {'ok'}
