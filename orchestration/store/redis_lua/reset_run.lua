-- reset_run: let another run take the place of one, with the beginning of its history; the old one ends if it is open.
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
-- KEYS[23] new_record  hash  <shard>:run:<run>
-- KEYS[24] new_extra   hash  <shard>:extra:<run>
-- KEYS[25] new_history list  <shard>:hist:<run>
-- KEYS[26] new_inbox   list  <shard>:inbox:<run>
-- KEYS[27] new_open    hash  <shard>:open:<run>
-- KEYS[28] new_updates hash  <shard>:updates:<run>
-- ARGV[1]  run         string
-- ARGV[2]  fence       int    as it was when the history was read
-- ARGV[3]  unread      int    number of unread inputs then
-- ARGV[4]  next        bytes  msgpack: the new run, see include next
-- ARGV[5]  first       bytes  its first event
-- ARGV[6]  length      int    number of events that it begins with
-- ARGV[7]  ops         bytes  msgpack: {{name, argument...}, ...}, see include step: what is open there
-- ARGV[8]  kept        bytes  msgpack: numbers of the children and requests that the new run takes over
-- ARGV[9]  head        bytes  closing event of the old run up to its time
-- ARGV[10] tail        bytes  the rest of it
-- ARGV[11] retention_ms int
-- ARGV[12] mark_ms     int
-- ARGV[13] channel     string told when the old run ends
-- ARGV[14] grace_ms    int
-- ARGV[15] eta_max     int
-- Returns  {"reset", run} | {"moved", fence} | {"not_latest", run}
-- Holds    all or nothing; the old history is copied, not changed; the same call again is answered as the first time
-- Cost     O(events + open commands)
-- @include run
-- @include index
-- @include close
-- @include next
-- @include step
local keys = close_keys(KEYS)
local new_record, new_extra, new_history, new_inbox, new_open = KEYS[23], KEYS[24], KEYS[25], KEYS[26], KEYS[27]
local run, n, kept = ARGV[1], cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[8])
local length, retention_ms, grace_ms = tonumber(ARGV[6]), tonumber(ARGV[11]), tonumber(ARGV[14])
local s = {
  run = n.run, ops = cmsgpack.unpack(ARGV[7]), push = n.push, next = n, retention_ms = retention_ms,
  grace_ms = grace_ms, eta_max = tonumber(ARGV[15]),
}

local f = redis.call('HMGET', keys.record, 'status', 'fence', 'next')
if f[3] == n.run then return {'reset', n.run} end
local current = redis.call('HGET', keys.workflow, 'run')
if not f[1] or current ~= run then return {'not_latest', current or ''} end
if f[2] ~= ARGV[2] or redis.call('LLEN', keys.inbox) ~= tonumber(ARGV[3]) then return {'moved', f[2]} end
-- who waits for the old run is being told at this moment, or another run is being asked for something
if redis.call('HEXISTS', keys.outbox, 'c/' .. run) == 1 then return {'moved', f[2]} end
for _, seq in ipairs(kept) do
  for _, kind in ipairs({'k/', 'm/', 'x/'}) do
    if redis.call('HEXISTS', keys.outbox, kind .. run .. '/' .. seq) == 1 then return {'moved', f[2]} end
  end
end
local problem = step_problem(s)
if problem then return redis.error_reply(problem) end

local now, bytes = now_ms(), #ARGV[5]
redis.call('RPUSH', new_history, ARGV[5])
for from = 1, length - 1, 500 do
  local page = redis.call('LRANGE', keys.history, from, math.min(from + 499, length - 1))
  for _, event in ipairs(page) do bytes = bytes + #event end
  redis.call('RPUSH', new_history, unpack(page))
end
for _, input in ipairs(n.inputs) do redis.call('RPUSH', new_inbox, input) end

local was_open = is_open(f[1])
if was_open then
  append_end(keys, ARGV[9], ARGV[10], now)
  for _, seq in ipairs(kept) do redis.call('HDEL', keys.open, seq) end -- else closing would end the children
  close_run(keys, run, 'terminated', now, retention_ms, tonumber(ARGV[12]), tonumber(ARGV[3]))
end
begin_next(keys, run, n, now, grace_ms)
redis.call('HSET', new_record, 'length', length, 'bytes', bytes)
if not was_open then -- who waited for the old run has been told
  redis.call('HDEL', new_record, 'parent')
  redis.call('HDEL', new_extra, 'request')
  for _, field in ipairs(redis.call('HKEYS', new_extra)) do
    if string.sub(field, 1, 6) == 'watch:' then redis.call('HDEL', new_extra, field) end
  end
end
local deadline = redis.call('HGET', new_record, 'deadline')
if deadline and tonumber(deadline) <= now then
  redis.call('HDEL', new_record, 'deadline', 'final')
  redis.call('ZREM', keys.timers, n.run .. '/exec')
end
local own = {}
for name, key in pairs(keys) do own[name] = key end
own.record, own.extra, own.history, own.inbox, own.open = new_record, new_extra, new_history, new_inbox, new_open
own.updates = KEYS[28]
perform_ops(own, s, now)
redis.call('PUBLISH', ARGV[13], 'terminated')
return {'reset', n.run}
