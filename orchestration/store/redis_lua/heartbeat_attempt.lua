-- heartbeat_attempt: say that an attempt is alive, keep its progress, and hear whether it is still wanted.
-- KEYS[1]  record   hash    <shard>:run:<run>
-- KEYS[2]  open     hash    <shard>:open:<run>
-- KEYS[3]  timers   zset    <shard>:timers
-- ARGV[1]  run      string
-- ARGV[2]  seq      int
-- ARGV[3]  attempt  int
-- ARGV[4]  token    string
-- ARGV[5]  details  bytes   progress, given to the next attempt; empty: unchanged
-- ARGV[6]  beat_ms  int     heartbeat timeout, 0 for none
-- Returns  {"ok"} | {"cancelled"} (still open: the workflow waits for how it ends) | {"gone", why}
-- Cost     O(log timers)
-- @include run
local record, open, timers = KEYS[1], KEYS[2], KEYS[3]
local run, seq = ARGV[1], ARGV[2]

local status = redis.call('HGET', record, 'status')
if not status or not is_open(status) then return {'gone', 'run ' .. (status or 'unknown')} end
local packed = redis.call('HGET', open, seq .. ':s')
local state = packed and cmsgpack.unpack(packed)
if not state then return {'gone', 'activity closed'} end
local at_work = state[3] == 'claimed' or state[3] == 'external'
if state[2] ~= ARGV[4] or state[1] ~= tonumber(ARGV[3]) or not at_work then return {'gone', 'other attempt'} end
if ARGV[5] ~= '' then redis.call('HSET', open, seq .. ':h', ARGV[5]) end
if tonumber(ARGV[6]) > 0 then
  redis.call('ZADD', timers, int(now_ms() + ARGV[6]), run .. '/' .. seq .. '/beat')
end
if redis.call('HEXISTS', open, seq .. ':c') == 1 then return {'cancelled'} end
return {'ok'}
