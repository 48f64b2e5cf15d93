-- finish_attempt: report an attempt's result and commit the step it causes, in one go, when nothing came in between.
-- KEYS[1]  record      hash  <shard>:run:<run>
-- KEYS[2]  extra       hash  <shard>:extra:<run>
-- KEYS[3]  history     list  <shard>:hist:<run>
-- KEYS[4]  inbox       list  <shard>:inbox:<run>
-- KEYS[5]  open        hash  <shard>:open:<run>
-- KEYS[6]  timers      zset  <shard>:timers
-- KEYS[7]  handed      zset  <shard>:handed
-- KEYS[8]  ready       zset  <shard>:ready
-- KEYS[9]  pending     zset  <shard>:pending
-- KEYS[10] open_runs   zset  <shard>:open-runs
-- KEYS[11] closed_runs zset  <shard>:closed-runs
-- KEYS[12] parked_runs zset  <shard>:parked-runs
-- KEYS[13] workflow    hash  <shard>:wf:<workflow id>
-- KEYS[14] bundle      string <shard>:bundle:<digest>
-- KEYS[15] bundles     hash  <shard>:bundles
-- KEYS[16] index       zset  <shard>:index
-- KEYS[17] types       hash  <shard>:types
-- KEYS[18] ended       hash  <shard>:ended
-- KEYS[19] outbox      hash  <shard>:outbox
-- KEYS[20] outbox_due  zset  <shard>:outbox-due
-- KEYS[21] updates     hash  <shard>:updates:<run>
-- KEYS[22] unarchived  zset  <shard>:unarchived
-- KEYS[23] claims      set   <shard>:claims:<owner>
-- KEYS[24] shown       zset  <shard>:shown
-- ARGV[1]  run         string
-- ARGV[2]  fence       int    as the holder was told it
-- ARGV[3]  commit      string unique to this commit; the same commit again is answered as the first time
-- ARGV[4]  owner       string
-- ARGV[5]  lease_ms    int
-- ARGV[6]  limit       int    most inputs handed over next
-- ARGV[7]  consumed    int    inputs read from the inbox's head, dropped ones included
-- ARGV[8]  dropped     int    of them, inputs whose command was closed already
-- ARGV[9]  time        int    time of the inputs, in ms
-- ARGV[10] events      bytes  msgpack: encoded events, in order; may be empty when all inputs were dropped
-- ARGV[11] ops         bytes  msgpack: {{name, argument...}, ...}, see the body
-- ARGV[12] pushes      bytes  msgpack: {db, own_db, {{command, key, argument...}, ...}}
-- ARGV[13] status      string the run ends with it; empty: it goes on
-- ARGV[14] retention_ms int
-- ARGV[15] mark_ms     int    how long a request is remembered
-- ARGV[16] channel     string told when the run ends
-- ARGV[17] grace_ms    int    after which the sweep takes up outbox entries
-- ARGV[18] eta_max     int    most timers of a shard whose wake-up is with the broker
-- ARGV[19] next        bytes  msgpack: the run that follows this one, see include next; empty: none
-- ARGV[20] seq         int    the activity that has completed
-- ARGV[21] attempt     int
-- ARGV[22] token       string of the scheduled command
-- Returns  {"done", fence, length} | {"more", fence, time, length, tries, tail, input...} | {"slow", why}
-- Holds    slow means that nothing was written: report the attempt in the ordinary way
-- Cost     O(events + ops + inputs); when the run ends O(its open commands)
-- @include run
-- @include index
-- @include close
-- @include next
-- @include step
local keys = close_keys(KEYS)
local s = {
  claims = KEYS[23], shown = KEYS[24],
  run = ARGV[1], fence = ARGV[2], commit = ARGV[3], owner = ARGV[4], lease_ms = tonumber(ARGV[5]),
  limit = tonumber(ARGV[6]), consumed = tonumber(ARGV[7]), dropped = tonumber(ARGV[8]), time = ARGV[9],
  events = cmsgpack.unpack(ARGV[10]), ops = cmsgpack.unpack(ARGV[11]), push = cmsgpack.unpack(ARGV[12]),
  ending = ARGV[13], retention_ms = tonumber(ARGV[14]), mark_ms = tonumber(ARGV[15]), channel = ARGV[16],
  grace_ms = tonumber(ARGV[17]), eta_max = tonumber(ARGV[18]), next = ARGV[19] ~= '' and cmsgpack.unpack(ARGV[19]),
}
local seq, attempt, token = ARGV[20], tonumber(ARGV[21]), ARGV[22]
local member = s.run .. '/' .. seq

local f = redis.call('HMGET', keys.record, 'fence', 'commit', 'status', 'owner', 'until', 'time', 'length', 'bytes')
if f[2] and f[2] == s.commit then return answer_step(keys, s) end
if f[1] ~= s.fence or f[3] ~= 'running' then return {'slow', 'fence'} end
local now = now_ms()
if f[4] and f[4] ~= '' and f[4] ~= s.owner and tonumber(f[5]) > now then return {'slow', 'lease'} end
if tonumber(s.time) > now or tonumber(s.time) < tonumber(f[6]) then return {'slow', 'time'} end
if redis.call('EXISTS', keys.inbox) == 1 then return {'slow', 'inbox'} end
local packed = redis.call('HGET', keys.open, seq .. ':s')
local state = packed and cmsgpack.unpack(packed)
if not state or state[2] ~= token or attempt > state[1] or state[3] == 'reported' then return {'slow', 'attempt'} end
local problem = step_problem(s)
if problem then return redis.error_reply(problem) end

redis.call('SREM', s.claims, member)
redis.call('ZREM', keys.timers, member .. '/close', member .. '/beat', member .. '/start', member .. '/retry',
  member .. '/whole')
redis.call('ZREM', keys.pending, member)
return write_step(keys, s, {fence = f[1], length = f[7], bytes = f[8]})
