-- follow_run: have those who listen to a run told of its changes, for a while.
-- KEYS[1]  record   hash  <shard>:run:<run>
-- ARGV[1]  ms       int   from now on
-- Returns  {"followed"} | {"closed", status}
-- Holds    nothing of the run changes but who is told; a shorter while takes nothing from another follower
-- Cost     O(1)
-- @include run
local record = KEYS[1]
local f = redis.call('HMGET', record, 'status', 'followed')
if not f[1] or not is_open(f[1]) then return {'closed', f[1] or 'unknown'} end
local until_ms = now_ms() + tonumber(ARGV[1])
if not f[2] or tonumber(f[2]) < until_ms then redis.call('HSET', record, 'followed', int(until_ms)) end
return {'followed'}
