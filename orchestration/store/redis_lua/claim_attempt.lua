-- claim_attempt: let one process, and one only, run the body of an activity attempt.
-- KEYS[1]  record    hash    <shard>:run:<run>
-- KEYS[2]  open      hash    <shard>:open:<run>
-- KEYS[3]  timers    zset    <shard>:timers
-- KEYS[4]  pending   zset    <shard>:pending
-- KEYS[5]  frontier  hash    <shard>:frontier
-- KEYS[6]  claims    set     <shard>:claims:<owner>
-- ARGV[1]  run       string
-- ARGV[2]  seq       int     the activity's number
-- ARGV[3]  attempt   int
-- ARGV[4]  token     string  of the scheduled command
-- ARGV[5]  owner     string  the process that claims
-- ARGV[6]  nonce     string  the same claim sent again is answered as the first time
-- ARGV[7]  close_ms  int     start-to-close timeout
-- ARGV[8]  beat_ms   int     heartbeat timeout, 0 for none
-- ARGV[9]  queue     string  where the message was
-- ARGV[10] mark_ms   int     how long the set of claims is kept at least: longer than the body may take
-- ARGV[11] retries   int     how often Celery's own retry has sent the attempt
-- Returns  {"claimed", time, details, time of dispatch or ""} | {"refused", why}
-- Holds    one claim an attempt and own retry of it; a refusal changes nothing but a counter
-- Cost     O(log timers)
-- @include run
local record, open, timers, pending, frontier, claims = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local run, seq, attempt, token, owner, nonce = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local retries = tonumber(ARGV[11])

local function refuse(why)
  if redis.call('EXISTS', record) == 1 then redis.call('HINCRBY', record, 'refused:' .. why, 1) end
  return {'refused', why}
end

local status = redis.call('HGET', record, 'status')
if not status or not is_open(status) then return {'refused', 'run ' .. (status or 'unknown')} end
local packed = redis.call('HGET', open, seq .. ':s')
if not packed then return refuse('activity closed') end
local state = cmsgpack.unpack(packed) -- {attempt, token, state, owner, nonce, started, retries}
local now = now_ms()
if state[2] ~= token then return refuse('other token') end
if state[1] ~= attempt then return refuse('other attempt') end
if state[3] == 'claimed' and state[5] == nonce then
  return {'claimed', int(now), redis.call('HGET', open, seq .. ':h') or '', ''}
end
-- Celery sends its own retry before the body that asks for it has ended: the message may be here before the report.
local handed_on = retries > (state[7] or 0)
if (state[3] == 'claimed' or state[3] == 'waiting') and not handed_on then return refuse('claimed already') end
if state[3] ~= 'scheduled' and state[3] ~= 'waiting' and state[3] ~= 'claimed' then return refuse(state[3]) end

local member = run .. '/' .. seq
local sent = redis.call('ZSCORE', pending, member)
redis.call('ZREM', pending, member)
if sent and ARGV[9] ~= '' then
  local seen = redis.call('HGET', frontier, ARGV[9])
  if not seen or tonumber(seen) < tonumber(sent) then redis.call('HSET', frontier, ARGV[9], sent) end
end
redis.call('HSET', open, seq .. ':s', cmsgpack.pack({attempt, token, 'claimed', owner, nonce, int(now), retries}))
redis.call('ZREM', timers, member .. '/start')
redis.call('ZADD', timers, int(now + ARGV[7]), member .. '/close')
if tonumber(ARGV[8]) > 0 then redis.call('ZADD', timers, int(now + ARGV[8]), member .. '/beat') end
redis.call('SADD', claims, member)
keep_for(claims, tonumber(ARGV[10]))
tell_followers(record)
return {'claimed', int(now), redis.call('HGET', open, seq .. ':h') or '', sent or ''}
