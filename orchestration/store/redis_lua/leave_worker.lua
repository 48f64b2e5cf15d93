-- leave_worker: forget a process that has gone.
-- KEYS[1]  workers  zset   orc:<namespace>:workers
-- ARGV[1]  owner    string
-- Returns  {"ok"}
local workers, owner = KEYS[1], ARGV[1]
redis.call('ZREM', workers, owner)
return {'ok'}
