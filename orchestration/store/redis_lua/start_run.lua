-- start_run: create a run of a workflow id, unless this request has been answered before or a policy refuses it.
-- KEYS[1]  workflow   hash    <shard>:wf:<workflow id>
-- KEYS[2]  request    string  <shard>:req:<request id>
-- KEYS[3]  record     hash    <shard>:run:<run>
-- KEYS[4]  extra      hash    <shard>:extra:<run>
-- KEYS[5]  inbox      list    <shard>:inbox:<run>
-- KEYS[6]  ready      zset    <shard>:ready
-- KEYS[7]  open_runs  zset    <shard>:open-runs
-- KEYS[8]  bundle     string  <shard>:bundle:<digest>
-- KEYS[9]  bundles    hash    <shard>:bundles
-- KEYS[10] timers     zset    <shard>:timers
-- KEYS[11] index      zset    <shard>:index
-- KEYS[12] types      hash    <shard>:types
-- KEYS[13] updates    hash    <shard>:updates:<run>
-- KEYS[14] shown      zset    <shard>:shown
-- ARGV[1]  run        string  id of the new run
-- ARGV[2]  request    string  id of the request
-- ARGV[3]  conflict   string  fail | use_existing | terminate_existing: another run of the id is open
-- ARGV[4]  reuse      string  allow_duplicate | allow_duplicate_failed_only | reject_duplicate: one has ended
-- ARGV[5]  mark_ms    int     how long a request is remembered
-- ARGV[6]  grace_ms   int     after which the sweep looks after the run
-- ARGV[7]  digest     string  of the code bundle
-- ARGV[8]  bundle     bytes   the bundle, or empty when the caller believes it is stored
-- ARGV[9]  fields     bytes   msgpack: {name, value, ...} of the record, of extra, of updates
-- ARGV[10] inputs     bytes   msgpack: inputs, the started input first, then startup signals and updates
-- ARGV[11] pushes     bytes   msgpack: {db, own_db, {{command, key, argument...}, ...}}
-- ARGV[12] tag        string  beginning of the shard's keys, to find the record of an earlier run
-- ARGV[13] timeout    int     run timeout in ms, 0 for none
-- ARGV[14] deadline   int     execution timeout in ms, 0 for none
-- ARGV[15] delay      int     ms until the run begins, 0 for at once
-- ARGV[16] bound      int     most unread inputs of a run
-- ARGV[17] expires    int     ms until it is not wanted any more if it has not begun, 0 for never
-- ARGV[18] show       int     ms until the outer Celery task is looked after, 0: when the run has begun
-- Returns  {"started", run, fence} | {"duplicate", run} | {"exists", run, "wake" (the caller must publish a wake-up) or ""}
--          | {"open", run} | {"refused", run, status} | {"full", run, n} | {"bundle_missing"}
-- Holds    one request starts at most one run; all or nothing; startup signals and updates reach the run answered with,
--          new or not
-- Cost     O(inputs)
-- @include run
-- @include index
local workflow, request, record, extra, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ready, open_runs, bundle, bundles, timers = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local index, types, updates, shown = KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local run, request_id, conflict, reuse = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local mark_ms, grace_ms, digest, code = ARGV[5], tonumber(ARGV[6]), ARGV[7], ARGV[8]
local fields, inputs, push = cmsgpack.unpack(ARGV[9]), cmsgpack.unpack(ARGV[10]), cmsgpack.unpack(ARGV[11])

-- The request as it stands in a key's name: its mark is written under this name when another run takes its place.
request_id = string.sub(request, #ARGV[12] + 6)

-- A mark counts for its own workflow: marks are one for a shard, and other workflows may share it or not.
local marked = redis.call('GET', request)
if marked then
  local of = redis.call('HGET', ARGV[12] .. ':run:' .. marked, 'id')
  if not of or of == fields[1][2] then return {'duplicate', marked} end
end
local current = redis.call('HMGET', workflow, 'run', 'request')
if current[1] then
  if current[2] == request_id then return {'duplicate', current[1]} end
  local status = redis.call('HGET', ARGV[12] .. ':run:' .. current[1], 'status')
  if status and is_open(status) then
    if conflict == 'use_existing' then
      local woken = ''
      if #inputs > 1 then
        local its_inbox, its_updates = ARGV[12] .. ':inbox:' .. current[1], ARGV[12] .. ':updates:' .. current[1]
        local unread = redis.call('LLEN', its_inbox)
        if unread + #inputs - 1 > tonumber(ARGV[16]) then return {'full', current[1], unread} end
        for i = 2, #inputs do
          -- An update is the last input; the run may have been sent it before.
          if i < #inputs or not fields[3][1] or redis.call('HSETNX', its_updates, fields[3][1], '') == 1 then
            redis.call('RPUSH', its_inbox, inputs[i])
          end
        end
        if wake(ARGV[12] .. ':run:' .. current[1], ready, current[1], grace_ms) then woken = 'wake' end
      end
      redis.call('SET', request, current[1], 'PX', mark_ms)
      return {'exists', current[1], woken}
    end
    return {'open', current[1]}
  end
  if status and (reuse == 'reject_duplicate' or (reuse == 'allow_duplicate_failed_only' and status == 'completed')) then
    return {'refused', current[1], status}
  end
end
local stored = redis.call('EXISTS', bundle) == 1
if not stored and code == '' and digest ~= '' then return {'bundle_missing'} end
local bad = bad_push(push[3], push[1], push[2])
if bad then return redis.error_reply('ERR the broker key ' .. bad .. ' is no list') end

local now, delay = now_ms(), tonumber(ARGV[15])
if delay == 0 then push_all(push[3], push[1], push[2]) end
if current[1] and current[2] then
  redis.call('SET', ARGV[12] .. ':req:' .. current[2], current[1], 'PX', mark_ms)
end
redis.call('DEL', workflow)
redis.call('HSET', workflow, 'run', run, 'request', request_id)
if digest ~= '' then -- else the worker that takes the run up knows its code
  if stored then redis.call('PERSIST', bundle) else redis.call('SET', bundle, code) end
  redis.call('HINCRBY', bundles, digest, 1)
end
redis.call('HSET', record, 'status', 'running', 'bundle', digest, 'fence', 1, 'time', int(now), 'length', 0, 'bytes', 0,
  'started', int(now), unpack(fields[1]))
if #fields[2] > 0 then redis.call('HSET', extra, unpack(fields[2])) end
if #fields[3] > 0 then redis.call('HSET', updates, unpack(fields[3])) end
for _, input in ipairs(inputs) do redis.call('RPUSH', inbox, input) end
redis.call('ZADD', open_runs, int(now), run)
index_run(index, types, record, extra, run)
if tonumber(ARGV[13]) > 0 then redis.call('ZADD', timers, int(now + delay + ARGV[13]), run .. '/run') end
if tonumber(ARGV[14]) > 0 then
  redis.call('HSET', record, 'deadline', int(now + ARGV[14]))
  redis.call('ZADD', timers, int(now + ARGV[14]), run .. '/exec')
end
if tonumber(ARGV[17]) > 0 then
  redis.call('HSET', record, 'expires', int(now + ARGV[17]))
  redis.call('ZADD', timers, int(now + ARGV[17]), run .. '/expire')
end
if tonumber(ARGV[18]) > 0 then redis.call('ZADD', shown, int(now + ARGV[18]), run) end
if delay > 0 then
  redis.call('HSET', record, 'delayed', int(now + delay))
  redis.call('ZADD', timers, int(now + delay), run .. '/delay')
else
  redis.call('ZADD', ready, int(now + grace_ms), run)
end
return {'started', run, '1'}
