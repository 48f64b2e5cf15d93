-- end_run: end a run from outside: terminated, timed out, or not wanted any more. Its code has no say.
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
-- KEYS[23] request     string <shard>:req:<request id>; unused when ARGV[14] is empty
-- ARGV[1]  run         string
-- ARGV[2]  status      string terminated | timed_out | cancelled
-- ARGV[3]  head        bytes  msgpack head of the closing event up to its time: the code
-- ARGV[4]  tail        bytes  the rest of the closing event, already encoded elements
-- ARGV[5]  outbox_id   string entry that completes the outer Celery task; empty: none
-- ARGV[6]  entry       bytes
-- ARGV[7]  retention_ms int
-- ARGV[8]  mark_ms     int
-- ARGV[9]  channel     string told when the run ends
-- ARGV[10] grace_ms    int
-- ARGV[11] timer       string member of the timer that asks for it, which must be due; empty: none
-- ARGV[12] next        bytes  msgpack: the run that follows this one, see include next; empty: none
-- ARGV[13] unbegun     string 1: only if nothing has been done yet, and nobody is at it; empty: however far it is
-- ARGV[14] request     string the same request ends one run, whichever run of its workflow is asked for; empty for no check
-- Returns  {"ended"} | {"closed", status} | {"early"} | {"begun"} | {"duplicate"}
-- Holds    raises the fence: a holder at work on the run cannot commit any more
-- Cost     O(open commands)
-- @include run
-- @include index
-- @include close
-- @include next
local keys = close_keys(KEYS)
local request, run, status, timer, request_id = KEYS[23], ARGV[1], ARGV[2], ARGV[11], ARGV[14]

local following = ARGV[12] ~= '' and cmsgpack.unpack(ARGV[12])
local problem = following and next_problem(following)
if problem then return redis.error_reply(problem) end
if request_id ~= '' and redis.call('EXISTS', request) == 1 then return {'duplicate'} end
local now = now_ms()
-- A holder may be in the middle of the first step, and have done what no history tells yet.
local held = false
if ARGV[13] ~= '' then
  local f = redis.call('HMGET', keys.record, 'length', 'owner', 'until')
  held = f[1] == '0' and f[2] and f[2] ~= '' and tonumber(f[3]) > now
end
if timer ~= '' then
  if held then return {'early'} end
  local due = redis.call('ZSCORE', keys.timers, timer)
  if due and tonumber(due) > now then return {'early'} end
  redis.call('ZREM', keys.timers, timer)
end
local old = redis.call('HGET', keys.record, 'status')
if not old or not is_open(old) then return {'closed', old or 'unknown'} end
if ARGV[13] ~= '' and (held or redis.call('HGET', keys.record, 'length') ~= '0') then return {'begun'} end

if request_id ~= '' then redis.call('SET', request, run, 'PX', ARGV[8]) end
append_end(keys, ARGV[3], ARGV[4], now)
if ARGV[5] ~= '' then
  redis.call('HSET', keys.outbox, ARGV[5], ARGV[6])
  redis.call('ZADD', keys.outbox_due, int(now + ARGV[10]), ARGV[5])
end
local carried = following and carry_inbox(keys, following)
close_run(keys, run, status, now, tonumber(ARGV[7]), tonumber(ARGV[8]), carried)
if following then begin_next(keys, run, following, now, tonumber(ARGV[10])) end
redis.call('PUBLISH', ARGV[9], status)
return {'ended'}
