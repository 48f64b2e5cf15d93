-- inspect_run: what there is to move a run, and to answer each of its open commands, all at one moment.
-- KEYS[1]  record      hash  <shard>:run:<run>
-- KEYS[2]  inbox       list  <shard>:inbox:<run>
-- KEYS[3]  open        hash  <shard>:open:<run>
-- KEYS[4]  timers      zset  <shard>:timers
-- KEYS[5]  ready       zset  <shard>:ready
-- KEYS[6]  pending     zset  <shard>:pending
-- KEYS[7]  parked_runs zset  <shard>:parked-runs
-- KEYS[8]  outbox      hash  <shard>:outbox
-- KEYS[9]  outbox_due  zset  <shard>:outbox-due
-- ARGV[1]  run         string
-- ARGV[2]  heads       int    of so many unread inputs the beginnings are returned
-- Returns  {"open", time, {name, value, ... of the record}, unread, {beginning...},
--          {ready, parked, delay, deadline}, {{seq, what, state, source, outbox id, its due time}, ...}}
--          | {"closed", status}
-- Holds    times are in ms, "" where there is none; reads only
-- Cost     O(open commands + heads)
-- @include run
local record, inbox, open, timers, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local pending, parked_runs, outbox, outbox_due = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local run = ARGV[1]

local status = redis.call('HGET', record, 'status')
if not status or not is_open(status) then return {'closed', status or 'unknown'} end

local function score(set, member)
  return redis.call('ZSCORE', set, member) or ''
end

-- The first of these entries that the outbox has, and when the sweep takes it up; a due time alone counts for nothing.
local function entry_of(...)
  for _, id in ipairs({...}) do
    if redis.call('HEXISTS', outbox, id) == 1 then return id, score(outbox_due, id) end
  end
  return '', ''
end

local suffixes = {claimed = '/close', waiting = '/close', external = '/close', backoff = '/retry'}
local function command_of(seq)
  local member = run .. '/' .. seq
  local state = redis.call('HGET', open, seq .. ':s')
  if state then
    local now = cmsgpack.unpack(state) -- {attempt, token, state, ...}
    local id, due = entry_of('a/' .. member .. '/' .. now[1])
    local source = ''
    if now[3] == 'scheduled' then source = score(pending, member)
    elseif suffixes[now[3]] then source = score(timers, member .. suffixes[now[3]]) end
    return {seq, 'a', state, source, id, due}
  end
  local value = redis.call('HGET', open, seq)
  local kind = string.sub(value, 1, 1)
  if kind == 't' then return {seq, 't', '', score(timers, member .. '/timer'), '', ''} end
  if kind == 'o' then return {seq, 'o', '', '', entry_of('m/' .. member, 'x/' .. member)} end
  if kind == 'c' then return {seq, value, '', '', entry_of('k/' .. member, 'w/' .. member)} end
  return {seq, '?', '', '', '', ''}
end

local commands = {}
for _, field in ipairs(redis.call('HKEYS', open)) do
  if not string.find(field, ':', 1, true) then commands[#commands + 1] = command_of(field) end
end
local beginnings = {}
for i, input in ipairs(redis.call('LRANGE', inbox, 0, tonumber(ARGV[2]) - 1)) do
  beginnings[i] = string.sub(input, 1, 16)
end
local marks = {score(ready, run), score(parked_runs, run), score(timers, run .. '/delay'), score(timers, run .. '/exec')}
return {'open', int(now_ms()), redis.call('HGETALL', record), redis.call('LLEN', inbox), beginnings, marks, commands}
