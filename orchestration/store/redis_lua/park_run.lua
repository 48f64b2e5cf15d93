-- park_run: set a run aside that cannot go on, with nothing of the failed step written; an operator decides.
-- KEYS[1]  record      hash  <shard>:run:<run>
-- KEYS[2]  extra       hash  <shard>:extra:<run>
-- KEYS[3]  ready       zset  <shard>:ready
-- KEYS[4]  parked_runs zset  <shard>:parked-runs
-- ARGV[1]  run         string
-- ARGV[2]  fence       int    as the holder was told it
-- ARGV[3]  kind        string why, in one word
-- ARGV[4]  reason      string why, for people
-- Returns  {"parked", fence} | {"fenced", fence}
-- Holds    the same call again is answered as the first time
-- @include run
local record, extra, ready, parked_runs = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local f = redis.call('HMGET', record, 'fence', 'status', 'parked')
if f[2] == 'parked' and f[3] == ARGV[3] and tonumber(f[1]) == tonumber(ARGV[2]) + 1 then return {'parked', f[1]} end
if f[1] ~= ARGV[2] or f[2] ~= 'running' then return {'fenced', f[1] or '0'} end
redis.call('HSET', record, 'status', 'parked', 'owner', '', 'until', 0, 'parked', ARGV[3])
redis.call('HSET', extra, 'parked', ARGV[4])
redis.call('ZREM', ready, ARGV[1])
redis.call('ZADD', parked_runs, int(now_ms()), ARGV[1])
tell_followers(record)
return {'parked', int(redis.call('HINCRBY', record, 'fence', 1))}
