-- pause_run: let a run make no more steps until it is resumed; what comes in waits in its inbox.
-- KEYS[1]  record      hash  <shard>:run:<run>
-- KEYS[2]  extra       hash  <shard>:extra:<run>
-- KEYS[3]  ready       zset  <shard>:ready
-- ARGV[1]  run         string
-- ARGV[2]  note        bytes  msgpack: {who, why}, for people
-- Returns  {"paused", fence} | {"not_running", status}
-- Holds    raises the fence: a holder at work on the run cannot commit any more; paused again it takes the new note
-- @include run
local record, extra, ready = KEYS[1], KEYS[2], KEYS[3]
local status = redis.call('HGET', record, 'status')
if status ~= 'running' and status ~= 'paused' then return {'not_running', status or 'unknown'} end
redis.call('HSET', extra, 'paused', ARGV[2])
if status == 'paused' then return {'paused', redis.call('HGET', record, 'fence')} end
redis.call('HSET', record, 'status', 'paused', 'owner', '', 'until', 0, 'paused', int(now_ms()))
redis.call('ZREM', ready, ARGV[1])
tell_followers(record)
return {'paused', int(redis.call('HINCRBY', record, 'fence', 1))}
