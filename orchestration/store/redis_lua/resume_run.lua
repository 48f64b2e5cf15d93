-- resume_run: let a paused run go on with what waits in its inbox.
-- KEYS[1]  record      hash  <shard>:run:<run>
-- KEYS[2]  extra       hash  <shard>:extra:<run>
-- KEYS[3]  ready       zset  <shard>:ready
-- ARGV[1]  run         string
-- Returns  {"running"} | {"not_paused", status}
-- Holds    a run that is running already is answered the same and left alone
-- @include run
local record, extra, ready = KEYS[1], KEYS[2], KEYS[3]
local status = redis.call('HGET', record, 'status')
if status == 'running' then return {'running'} end
if status ~= 'paused' then return {'not_paused', status or 'unknown'} end
redis.call('HSET', record, 'status', 'running', 'tries', 0)
redis.call('HINCRBY', record, 'fence', 1)
redis.call('HDEL', record, 'paused')
redis.call('HDEL', extra, 'paused')
redis.call('ZADD', ready, int(now_ms()), ARGV[1])
tell_followers(record)
return {'running'}
