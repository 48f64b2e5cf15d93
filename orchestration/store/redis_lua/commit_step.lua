-- commit_step: make one step of a run true: inputs consumed, events appended, effects set off; all or nothing.
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
-- Returns  {"done", fence, length} | {"more", fence, time, length, tries, tail, input...} | {"fenced", fence}
-- Holds    the fence rises with every commit; a fenced commit leaves no trace
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

local f = redis.call('HMGET', keys.record, 'fence', 'commit', 'status', 'length', 'bytes', 'bundle')
if f[2] and f[2] == s.commit then return answer_step(keys, s) end
if not f[1] or f[1] ~= s.fence or f[3] ~= 'running' then return {'fenced', f[1] or '0'} end
-- a machine that was kept while another worker moved the run to other code
if string.sub(keys.bundle, -#f[6]) ~= f[6] then return {'fenced', f[1]} end
local problem = step_problem(s)
if problem then return redis.error_reply(problem) end
return write_step(keys, s, {fence = f[1], length = f[4], bytes = f[5]})
