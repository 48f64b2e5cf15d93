-- deliver_input: put an input into a run's inbox, once, and see to it that somebody reads it.
-- KEYS[1]  record    hash    <shard>:run:<run>
-- KEYS[2]  inbox     list    <shard>:inbox:<run>
-- KEYS[3]  ready     zset    <shard>:ready
-- KEYS[4]  request   string  <shard>:req:<request id>; unused when ARGV[2] is empty
-- ARGV[1]  run       string
-- ARGV[2]  request   string  the same request delivers once; empty for no check
-- ARGV[3]  mark_ms   int     how long a request is remembered
-- ARGV[4]  input     bytes   encoded input without its time
-- ARGV[5]  grace_ms  int     after which the sweep looks after the run
-- ARGV[6]  pushes    bytes   msgpack: {db, own_db, pushes} of the wake-up, given out when one is needed
-- ARGV[7]  owner     string  takes the lease for this process; empty: not wanted
-- ARGV[8]  lease_ms  int
-- ARGV[9]  limit     int     most inputs handed over with the lease
-- ARGV[10] bound     int     most unread inputs of a run
-- Returns  {"accepted"} | {"wake"} (accepted; the caller must publish a wake-up) | {"duplicate"} | {"closed", status}
--          | {"full", n} | {"lease", fence, time, length, tries, tail, input...}
-- Holds    accepted means stored
-- Cost     O(limit)
-- @include run
local record, inbox, ready, request = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local run, request_id, input, grace_ms, owner = ARGV[1], ARGV[2], ARGV[4], tonumber(ARGV[5]), ARGV[7]
local push = cmsgpack.unpack(ARGV[6])

if request_id ~= '' and redis.call('EXISTS', request) == 1 then return {'duplicate'} end
local status = redis.call('HGET', record, 'status')
if not status then return {'closed', 'unknown'} end
if not is_open(status) then return {'closed', status} end
local unread = redis.call('LLEN', inbox)
if unread >= tonumber(ARGV[10]) then return {'full', unread} end
local bad = bad_push(push[3], push[1], push[2])
if bad then return redis.error_reply('ERR the broker key ' .. bad .. ' is no list') end

if request_id ~= '' then redis.call('SET', request, run, 'PX', ARGV[3]) end
redis.call('RPUSH', inbox, input)
tell_followers(record)
if owner ~= '' then
  local lease = grant(record, inbox, ready, run, owner, tonumber(ARGV[8]), tonumber(ARGV[9]))
  if lease[1] == 'lease' then return lease end
end
if not wake(record, ready, run, grace_ms) then return {'accepted'} end
if #push[3] == 0 then return {'wake'} end
push_all(push[3], push[1], push[2])
return {'accepted'}
