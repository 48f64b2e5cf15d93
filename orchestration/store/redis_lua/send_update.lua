-- send_update: put an update into a run's inbox, once, and keep its id for as long as the run.
-- KEYS[1]  record    hash    <shard>:run:<run>
-- KEYS[2]  inbox     list    <shard>:inbox:<run>
-- KEYS[3]  ready     zset    <shard>:ready
-- KEYS[4]  updates   hash    <shard>:updates:<run>
-- ARGV[1]  run       string
-- ARGV[2]  update    string  id of the update; the same id is delivered once
-- ARGV[3]  input     bytes   encoded input without its time
-- ARGV[4]  grace_ms  int     after which the sweep looks after the run
-- ARGV[5]  pushes    bytes   msgpack: {db, own_db, pushes} of the wake-up, given out when one is needed
-- ARGV[6]  bound     int     most unread inputs of a run
-- ARGV[7]  most      int     most updates that a run remembers
-- Returns  {"accepted"} | {"wake"} (accepted; the caller must publish a wake-up) | {"duplicate"} | {"closed", status}
--          | {"full", n}
-- Holds    accepted means stored; a duplicate has its answer, or will get one, or its run has ended
-- Cost     O(1)
-- @include run
local record, inbox, ready, updates = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local run, update, input, grace_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local push = cmsgpack.unpack(ARGV[5])

if redis.call('HEXISTS', updates, update) == 1 then return {'duplicate'} end
local status = redis.call('HGET', record, 'status')
if not status then return {'closed', 'unknown'} end
if not is_open(status) then return {'closed', status} end
local unread, known = redis.call('LLEN', inbox), redis.call('HLEN', updates)
if unread >= tonumber(ARGV[6]) then return {'full', unread .. ' inputs are unread'} end
if known >= tonumber(ARGV[7]) then return {'full', known .. ' updates were sent to this run'} end
local bad = bad_push(push[3], push[1], push[2])
if bad then return redis.error_reply('ERR the broker key ' .. bad .. ' is no list') end

redis.call('HSET', updates, update, '')
redis.call('RPUSH', inbox, input)
if not wake(record, ready, run, grace_ms) then return {'accepted'} end
if #push[3] == 0 then return {'wake'} end
push_all(push[3], push[1], push[2])
return {'accepted'}
