-- mend_run: put back what should move a run, if it stands as it was inspected.
-- KEYS[1]  record      hash   <shard>:run:<run>
-- KEYS[2]  inbox       list   <shard>:inbox:<run>
-- KEYS[3]  open        hash   <shard>:open:<run>
-- KEYS[4]  timers      zset   <shard>:timers
-- KEYS[5]  ready       zset   <shard>:ready
-- KEYS[6]  pending     zset   <shard>:pending
-- KEYS[7]  parked_runs zset   <shard>:parked-runs
-- KEYS[8]  outbox      hash   <shard>:outbox
-- KEYS[9]  outbox_due  zset   <shard>:outbox-due
-- KEYS[10] bundle      string <shard>:bundle:<digest>
-- KEYS[11] open_runs   zset   <shard>:open-runs
-- ARGV[1]  run         string
-- ARGV[2]  fence       int    as it was inspected
-- ARGV[3]  unread      int    number of unread inputs then
-- ARGV[4]  ops         bytes  msgpack: {{name, argument...}, ...}, see the body
-- ARGV[5]  code        bytes  the run's bundle, stored if it is missing; empty: it is left alone
-- Returns  {"mended"} | {"moved", fence} | {"closed", status}
-- Holds    what is there already is left as it is, so the same call again changes nothing
-- Cost     O(ops)
-- @include run
local record, inbox, open, timers, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local pending, parked_runs, outbox, outbox_due, bundle = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local open_runs = KEYS[11]
local run, ops, code = ARGV[1], cmsgpack.unpack(ARGV[4]), ARGV[5]

local f = redis.call('HMGET', record, 'status', 'fence', 'bundle', 'started')
if not f[1] or not is_open(f[1]) then return {'closed', f[1] or 'unknown'} end
if f[2] ~= ARGV[2] or redis.call('LLEN', inbox) ~= tonumber(ARGV[3]) then return {'moved', f[2]} end
if code ~= '' and string.sub(bundle, -#f[3]) ~= f[3] then return {'moved', f[2]} end
-- The attempts of activities move without the fence: each must be in the state that was seen.
for _, op in ipairs(ops) do
  if op[1] == 'timer' or op[1] == 'pending' or op[1] == 'out' or op[1] == 'drop' then
    local seq, state = op[#op - 1], op[#op]
    local is_there = seq == '' or redis.call('HEXISTS', open, seq) == 1
    if not is_there or (state ~= '' and redis.call('HGET', open, seq .. ':s') ~= state) then return {'moved', f[2]} end
  end
end

local now = now_ms()
if code ~= '' and redis.call('EXISTS', bundle) == 0 then redis.call('SET', bundle, code) end
for _, op in ipairs(ops) do
  local name = op[1]
  if name == 'ready' then -- its inputs are to be read
    if f[1] == 'running' then redis.call('ZADD', ready, 'NX', int(now), run) end
  elseif name == 'parked' then -- it waits for an operator, and is to be found as such
    if f[1] == 'parked' then redis.call('ZADD', parked_runs, 'NX', int(now), run) end
  elseif name == 'listed' then -- it is open, and is to be found as such
    redis.call('ZADD', open_runs, 'NX', f[4], run)
  elseif name == 'drop' then -- member, seq, state: an attempt is not also looked after as if it stood elsewhere
    redis.call('ZREM', op[2] == run .. '/' .. op[3] and pending or timers, op[2])
  elseif name == 'timer' then -- member, due, seq or empty, state or empty
    redis.call('ZADD', timers, 'NX', op[3], op[2])
  elseif name == 'pending' then -- member, seq, state: an attempt's message is looked after
    redis.call('ZADD', pending, 'NX', int(now), op[2])
  elseif name == 'out' then -- id, entry, seq, state or empty
    redis.call('HSETNX', outbox, op[2], op[3])
    redis.call('ZADD', outbox_due, 'NX', int(now), op[2])
  elseif name == 'due' then -- id of an entry that nobody takes up
    if redis.call('HEXISTS', outbox, op[2]) == 1 then redis.call('ZADD', outbox_due, 'NX', int(now), op[2]) end
  end
end
return {'mended'}
