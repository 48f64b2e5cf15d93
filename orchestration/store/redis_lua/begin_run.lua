-- begin_run: let a run begin whose delay is over.
-- KEYS[1]  record    hash    <shard>:run:<run>
-- KEYS[2]  timers    zset    <shard>:timers
-- KEYS[3]  ready     zset    <shard>:ready
-- ARGV[1]  run       string
-- ARGV[2]  grace_ms  int     after which the sweep looks after the run
-- ARGV[3]  pushes    bytes   msgpack: {db, own_db, pushes} of the wake-up
-- Returns  {"early"} | {"gone"} | {"accepted"} | {"wake"}
-- Holds    never early; whoever takes the timer from the set does it, once
-- @include run
local record, timers, ready, run = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local push = cmsgpack.unpack(ARGV[3])
local member = run .. '/delay'
local due = redis.call('ZSCORE', timers, member)
if not due then return {'gone'} end
if tonumber(due) > now_ms() then return {'early'} end
local bad = bad_push(push[3], push[1], push[2])
if bad then return redis.error_reply('ERR the broker key ' .. bad .. ' is no list') end
redis.call('ZREM', timers, member)
redis.call('HDEL', record, 'delayed')
if not wake(record, ready, run, tonumber(ARGV[2])) then return {'gone'} end
if #push[3] == 0 then return {'wake'} end
push_all(push[3], push[1], push[2])
return {'accepted'}
