-- watch_run: have a run's end told to one more that waits for it.
-- KEYS[1]  record   hash    <shard>:run:<run>
-- KEYS[2]  extra    hash    <shard>:extra:<run>
-- ARGV[1]  watcher  string  who waits
-- ARGV[2]  pid      string  by which address the watcher knows the run
-- Returns  {"watching"} | {"closed", status, next}
-- Holds    a watcher of an open run is told of its end
-- @include run
local record, extra = KEYS[1], KEYS[2]
local f = redis.call('HMGET', record, 'status', 'next')
if not f[1] or not is_open(f[1]) then return {'closed', f[1] or 'unknown', f[2] or ''} end
redis.call('HSET', extra, 'watch:' .. ARGV[1], ARGV[2])
return {'watching'}
