-- fork_run: make a run of another workflow id that begins with the history of one that goes on by itself.
-- KEYS[1]  workflow   hash   <shard>:wf:<workflow id>
-- KEYS[2]  record     hash   <shard>:run:<run>
-- KEYS[3]  extra      hash   <shard>:extra:<run>
-- KEYS[4]  history    list   <shard>:hist:<run>
-- KEYS[5]  inbox      list   <shard>:inbox:<run>
-- KEYS[6]  open       hash   <shard>:open:<run>
-- KEYS[7]  timers     zset   <shard>:timers
-- KEYS[8]  handed     zset   <shard>:handed
-- KEYS[9]  ready      zset   <shard>:ready
-- KEYS[10] pending    zset   <shard>:pending
-- KEYS[11] open_runs  zset   <shard>:open-runs
-- KEYS[12] bundle     string <shard>:bundle:<digest>
-- KEYS[13] bundles    hash   <shard>:bundles
-- KEYS[14] index      zset   <shard>:index
-- KEYS[15] types      hash   <shard>:types
-- KEYS[16] outbox     hash   <shard>:outbox
-- KEYS[17] outbox_due zset   <shard>:outbox-due
-- KEYS[18] updates    hash   <shard>:updates:<run>
-- ARGV[1]  run        string
-- ARGV[2]  digest     string of the code bundle
-- ARGV[3]  code       bytes  the bundle
-- ARGV[4]  fields     bytes  msgpack: {name, value, ...} of the record, {name, value, ...} of extra
-- ARGV[5]  events     bytes  msgpack: the events that it begins with; may be empty
-- ARGV[6]  inputs     bytes  msgpack: what waits in its inbox
-- ARGV[7]  ops        bytes  msgpack: {{name, argument...}, ...}, see include step: what is open there
-- ARGV[8]  pushes     bytes  msgpack: {db, own_db, {{command, key, argument...}, ...}}
-- ARGV[9]  timeout    int    run timeout in ms, 0 for none
-- ARGV[10] retention_ms int
-- ARGV[11] grace_ms   int
-- ARGV[12] eta_max    int
-- Returns  {"forked", run} | {"exists", run}
-- Holds    all or nothing; the same call again is answered as the first time
-- Cost     O(events)
-- @include run
-- @include index
-- @include close
-- @include next
-- @include step
local workflow, timers, ready, open_runs, bundle, bundles = KEYS[1], KEYS[7], KEYS[9], KEYS[11], KEYS[12], KEYS[13]
local keys = {
  record = KEYS[2], extra = KEYS[3], history = KEYS[4], inbox = KEYS[5], open = KEYS[6], timers = timers,
  handed = KEYS[8], pending = KEYS[10], index = KEYS[14], types = KEYS[15], outbox = KEYS[16], outbox_due = KEYS[17],
  updates = KEYS[18],
}
local run, digest, fields, events = ARGV[1], ARGV[2], cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[5])
local s = {
  run = run, ops = cmsgpack.unpack(ARGV[7]), push = cmsgpack.unpack(ARGV[8]), retention_ms = tonumber(ARGV[10]),
  grace_ms = tonumber(ARGV[11]), eta_max = tonumber(ARGV[12]),
}

local current = redis.call('HGET', workflow, 'run')
if current == run then return {'forked', run} end
if current then return {'exists', current} end
local problem = step_problem(s)
if problem then return redis.error_reply(problem) end

local now, bytes = now_ms(), 0
push_all(s.push[3], s.push[1], s.push[2])
redis.call('HSET', workflow, 'run', run, 'request', 'fork/' .. run)
if redis.call('EXISTS', bundle) == 1 then redis.call('PERSIST', bundle) else redis.call('SET', bundle, ARGV[3]) end
redis.call('HINCRBY', bundles, digest, 1)
for _, event in ipairs(events) do bytes = bytes + #event end
for from = 1, #events, 500 do
  redis.call('RPUSH', keys.history, unpack(events, from, math.min(from + 499, #events)))
end
for _, input in ipairs(cmsgpack.unpack(ARGV[6])) do redis.call('RPUSH', keys.inbox, input) end
redis.call('HSET', keys.record, 'status', 'running', 'bundle', digest, 'fence', 1, 'time', int(now), 'length', #events,
  'bytes', bytes, 'started', int(now), unpack(fields[1]))
if #fields[2] > 0 then redis.call('HSET', keys.extra, unpack(fields[2])) end
redis.call('ZADD', open_runs, int(now), run)
redis.call('ZADD', ready, int(now + s.grace_ms), run)
index_run(keys.index, keys.types, keys.record, keys.extra, run)
if tonumber(ARGV[9]) > 0 then redis.call('ZADD', timers, int(now + ARGV[9]), run .. '/run') end
perform_ops(keys, s, now)
return {'forked', run}
