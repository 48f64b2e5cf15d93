-- report_attempt: record how an activity attempt ended: a result, a failure for the workflow, or another attempt.
-- KEYS[1]  record    hash    <shard>:run:<run>
-- KEYS[2]  open      hash    <shard>:open:<run>
-- KEYS[3]  timers    zset    <shard>:timers
-- KEYS[4]  pending   zset    <shard>:pending
-- KEYS[5]  inbox     list    <shard>:inbox:<run>
-- KEYS[6]  ready     zset    <shard>:ready
-- KEYS[7]  claims    set     <shard>:claims:<owner of the claim, as the reporter knows it>
-- KEYS[8]  history   list    <shard>:hist:<run>
-- KEYS[9]  request   string  <shard>:req:<request id>; unused when ARGV[18] is empty
-- ARGV[1]  run       string
-- ARGV[2]  seq       int
-- ARGV[3]  attempt   int
-- ARGV[4]  token     string  of the scheduled command
-- ARGV[5]  outcome   string  completed | failed | retry | waiting (Celery's own retry has sent it again) |
--                            external (the body has ended, somebody else will report)
-- ARGV[6]  input     bytes   the input for the workflow; with retry and waiting: the failure, kept to be shown
-- ARGV[7]  delay_ms  int     with retry: until the next attempt
-- ARGV[8]  states    string  states in which the report counts, joined by commas; empty: any
-- ARGV[9]  grace_ms  int     after which the sweep looks after the run
-- ARGV[10] pushes    bytes   msgpack: {db, own_db, pushes} of the wake-up
-- ARGV[11] owner     string  takes the lease for this process; empty: not wanted
-- ARGV[12] lease_ms  int
-- ARGV[13] limit     int
-- ARGV[14] claimed_by string the owner of the claim, as the reporter knows it
-- ARGV[15] known     int     events that the asker knows, -1 for none: it is sent the few after them
-- ARGV[16] retries   int     with waiting: how often Celery's own retry had sent the attempt that asks for another
-- ARGV[17] timer    string member of the deadline that asks for it, which must be due; empty: none
-- ARGV[18] request  string  the same request reports once; empty for no check
-- ARGV[19] mark_ms  int     how long a request is remembered
-- Returns  {"dropped", why} | {"accepted"} | {"wake"} | {"retry", attempt, due} | {"waiting"} | {"external"} | {"early"}
--          | {"duplicate", outcome} | {"cancelled"} (it is not tried again: report how it failed)
--          | {"lease", fence, time, length, tries, tail, input...}
-- Holds    an activity ends once; a success of an earlier attempt counts while it is open, its failure does not
-- Cost     O(log timers)
-- @include run
local record, open, timers, pending = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local inbox, ready, claims, request = KEYS[5], KEYS[6], KEYS[7], KEYS[9]
local run, seq, attempt, token, outcome = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local push = cmsgpack.unpack(ARGV[10])
local member = run .. '/' .. seq

-- Who saw a deadline pass may come late: by now it may be another attempt's, or put off by a heartbeat.
local timer, request_id = ARGV[17], ARGV[18]
if timer ~= '' then
  local due = redis.call('ZSCORE', timers, timer)
  if not due or tonumber(due) > now_ms() then return {'early'} end
end

if request_id ~= '' and redis.call('EXISTS', request) == 1 then return {'duplicate', redis.call('GET', request)} end

local function drop(why)
  if timer ~= '' then redis.call('ZREM', timers, timer) end
  if not string.find(why, '^run ') and redis.call('EXISTS', record) == 1 then redis.call('HINCRBY', record, 'dropped:' .. why, 1) end
  return {'dropped', why}
end

local status = redis.call('HGET', record, 'status')
local packed = status and is_open(status) and redis.call('HGET', open, seq .. ':s')
local state = packed and cmsgpack.unpack(packed) -- {attempt, token, state, owner, nonce, since, retries}
-- The owner's claim is over, unless it holds another attempt of the same activity by now: that one stays on its list.
local over = not state or state[3] ~= 'claimed' or state[4] ~= ARGV[14]
if over then redis.call('SREM', claims, member) end
if not status or not is_open(status) then return drop('run ' .. (status or 'unknown')) end
if not state then return drop('activity closed') end
if state[2] ~= token then return drop('other token') end
if outcome ~= 'completed' and state[1] ~= attempt then return drop('other attempt') end
if attempt > state[1] then return drop('other attempt') end
if state[3] == 'reported' then return drop('reported already') end
if ARGV[8] ~= '' and not string.find(',' .. ARGV[8] .. ',', ',' .. state[3] .. ',', 1, true) then
  return drop('attempt ' .. state[3])
end
if outcome == 'retry' and redis.call('HEXISTS', open, seq .. ':c') == 1 then return {'cancelled'} end
if outcome == 'external' and state[3] ~= 'claimed' then return drop('attempt ' .. state[3]) end
if outcome == 'waiting' and (state[7] or 0) > tonumber(ARGV[16]) then return {'waiting'} end -- it runs already
local bad = bad_push(push[3], push[1], push[2])
if bad then return redis.error_reply('ERR the broker key ' .. bad .. ' is no list') end

local now = now_ms()
if request_id ~= '' then redis.call('SET', request, outcome, 'PX', ARGV[19]) end
if not over then redis.call('SREM', claims, member) end
if outcome == 'external' then -- its deadlines go on
  redis.call('HSET', open, seq .. ':s', cmsgpack.pack({attempt, token, 'external', '', '', int(now)}))
  tell_followers(record)
  return {'external'}
end
redis.call('ZREM', timers, member .. '/close', member .. '/beat', member .. '/start', member .. '/retry')
redis.call('ZREM', pending, member)
if outcome == 'retry' then
  local due = int(now + ARGV[7])
  redis.call('HSET', open, seq .. ':s', cmsgpack.pack({attempt + 1, token, 'backoff', '', '', due}), seq .. ':e', ARGV[6])
  redis.call('ZADD', timers, due, member .. '/retry')
  tell_followers(record)
  return {'retry', int(attempt + 1), due}
end
if outcome == 'waiting' then
  redis.call('HSET', open, seq .. ':s', cmsgpack.pack({attempt, token, 'waiting', '', '', int(now), tonumber(ARGV[16])}), seq .. ':e', ARGV[6])
  redis.call('ZADD', timers, int(now + ARGV[7]), member .. '/close')
  tell_followers(record)
  return {'waiting'}
end
redis.call('ZREM', timers, member .. '/whole')
redis.call('HSET', open, seq .. ':s', cmsgpack.pack({state[1], token, 'reported', '', '', int(now)}))
redis.call('RPUSH', inbox, ARGV[6])
if ARGV[11] ~= '' then
  local lease = grant(record, inbox, ready, run, ARGV[11], tonumber(ARGV[12]), tonumber(ARGV[13]), KEYS[8],
    tonumber(ARGV[15]))
  if lease[1] == 'lease' then return lease end
end
if not wake(record, ready, run, tonumber(ARGV[9])) then return {'accepted'} end
if #push[3] == 0 then return {'wake'} end
push_all(push[3], push[1], push[2])
return {'accepted'}
