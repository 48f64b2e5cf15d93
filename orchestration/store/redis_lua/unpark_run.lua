-- unpark_run: let a parked run try again.
-- KEYS[1]  record      hash  <shard>:run:<run>
-- KEYS[2]  extra       hash  <shard>:extra:<run>
-- KEYS[3]  ready       zset  <shard>:ready
-- KEYS[4]  parked_runs zset  <shard>:parked-runs
-- ARGV[1]  run         string
-- Returns  {"running"} | {"not_parked", status}
-- @include run
local record, extra, ready, parked_runs = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local status = redis.call('HGET', record, 'status')
if status ~= 'parked' then return {'not_parked', status or 'unknown'} end
redis.call('HSET', record, 'status', 'running', 'tries', 0)
redis.call('HINCRBY', record, 'fence', 1)
redis.call('HDEL', record, 'parked')
redis.call('HDEL', extra, 'parked')
redis.call('ZREM', parked_runs, ARGV[1])
redis.call('ZADD', ready, int(now_ms()), ARGV[1])
tell_followers(record)
return {'running'}
