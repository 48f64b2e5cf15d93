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
-- KEYS[16] outbox      hash  <shard>:outbox
-- KEYS[17] outbox_due  zset  <shard>:outbox-due
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
-- Returns  {"done", fence, length} | {"more", fence, time, length, tries, input...} | {"fenced", fence}
-- Holds    the fence rises with every commit; a fenced commit leaves no trace
-- Cost     O(events + ops + inputs); when the run ends O(its open commands)
-- @include run
-- @include close
local keys = close_keys(KEYS)
local outbox, outbox_due = KEYS[16], KEYS[17]
local run, fence, commit, owner = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local lease_ms, limit, consumed = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local events, ops, push = cmsgpack.unpack(ARGV[10]), cmsgpack.unpack(ARGV[11]), cmsgpack.unpack(ARGV[12])
local ending = ARGV[13]

-- Number of elements of each op, its name included. Ops are checked before anything is written: an error in the
-- middle would leave a step half done.
local sizes = {open = 3, timer = 3, eta = 4, sent = 2, shut = 2, extra = 3, out = 3, input = 2}
local function bad_op(op)
  if sizes[op[1]] ~= #op then return true end
  for i = 2, #op do
    local kind = type(op[i])
    if (kind == 'table') ~= (op[1] == 'eta' and i == 4) or kind == 'boolean' then return true end
  end
  return (op[1] == 'timer' or op[1] == 'eta') and not tonumber(op[3])
end

local function answer()
  local f = redis.call('HMGET', keys.record, 'status', 'fence', 'length', 'owner', 'time')
  if f[1] == 'running' and f[4] == owner then
    local inputs = read_inputs(keys.inbox, limit)
    if #inputs > 0 then
      local now = now_ms()
      redis.call('HSET', keys.record, 'until', int(now + lease_ms), 'tries', 1)
      redis.call('ZADD', keys.ready, int(now + lease_ms), run)
      local reply = {'more', f[2], int(math.max(now, tonumber(f[5]))), f[3], '1'}
      for i, input in ipairs(inputs) do reply[5 + i] = input end
      return reply
    end
    redis.call('HSET', keys.record, 'owner', '', 'until', 0)
    redis.call('ZREM', keys.ready, run)
  end
  return {'done', f[2], f[3]}
end

local f = redis.call('HMGET', keys.record, 'fence', 'commit', 'status', 'length')
if f[2] and f[2] == commit then return answer() end
if not f[1] or f[1] ~= fence or f[3] ~= 'running' then return {'fenced', f[1] or '0'} end
local wakes, bytes = {}, 0
for _, op in ipairs(ops) do
  if bad_op(op) then return redis.error_reply('ERR no such op, or not its arguments: ' .. tostring(op[1])) end
  if op[1] == 'eta' then wakes[#wakes + 1] = op[4] end
end
for _, event in ipairs(events) do bytes = bytes + #event end
local bad = bad_push(push[3], push[1], push[2]) or bad_push(wakes, push[1], push[2])
if bad then return redis.error_reply('ERR the broker key ' .. bad .. ' is no list') end

push_all(push[3], push[1], push[2])
local now = now_ms()
for from = 1, #events, 1000 do
  redis.call('RPUSH', keys.history, unpack(events, from, math.min(from + 999, #events)))
end
redis.call('LTRIM', keys.inbox, consumed, -1)
redis.call('HSET', keys.record, 'commit', commit, 'time', ARGV[9], 'owner', owner, 'tries', 0)
redis.call('HINCRBY', keys.record, 'fence', 1)
redis.call('HINCRBY', keys.record, 'length', #events)
redis.call('HINCRBY', keys.record, 'bytes', bytes)
if tonumber(ARGV[8]) > 0 then redis.call('HINCRBY', keys.record, 'dropped:command closed', ARGV[8]) end
for _, op in ipairs(ops) do
  local name = op[1]
  if name == 'open' then -- field, value: a command that waits
    redis.call('HSET', keys.open, op[2], op[3])
  elseif name == 'timer' then -- member, due
    redis.call('ZADD', keys.timers, op[3], op[2])
  elseif name == 'eta' then -- member, due, push: a near timer; its wake-up is an ETA task, as long as there are few
    if redis.call('ZCARD', keys.handed) < tonumber(ARGV[18]) then
      push_all({op[4]}, push[1], push[2])
      redis.call('ZADD', keys.handed, op[3], op[2])
    end
  elseif name == 'sent' then -- member: an attempt's message is among the pushes or in the outbox
    redis.call('ZADD', keys.pending, int(now), op[2])
  elseif name == 'shut' then -- seq: the command waits no more
    local member = run .. '/' .. op[2]
    redis.call('HDEL', keys.open, op[2], op[2] .. ':s', op[2] .. ':e', op[2] .. ':h')
    redis.call('ZREM', keys.timers, member .. '/timer', member .. '/start', member .. '/close', member .. '/beat',
      member .. '/retry', member .. '/whole')
    redis.call('ZREM', keys.handed, member .. '/timer')
    redis.call('ZREM', keys.pending, member)
  elseif name == 'extra' then -- field, value
    redis.call('HSET', keys.extra, op[2], op[3])
  elseif name == 'out' then -- id, entry
    redis.call('HSET', outbox, op[2], op[3])
    redis.call('ZADD', outbox_due, int(now + ARGV[17]), op[2])
  elseif name == 'input' then -- input that the step itself caused
    redis.call('RPUSH', keys.inbox, op[2])
  end
end
if ending ~= '' then
  close_run(keys, run, ending, now, tonumber(ARGV[14]), tonumber(ARGV[15]))
  redis.call('PUBLISH', ARGV[16], ending)
end
return answer()
