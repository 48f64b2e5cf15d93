-- await_report: an attempt has been taken by a worker that claims nothing: its start-to-close time begins.
-- KEYS[1]  record  hash  <shard>:run:<run>
-- KEYS[2]  open    hash  <shard>:open:<run>
-- KEYS[3]  timers  zset  <shard>:timers
-- ARGV[1]  run       string
-- ARGV[2]  seq       int
-- ARGV[3]  attempt   int
-- ARGV[4]  token     string of the scheduled command
-- ARGV[5]  close_ms  int    start-to-close timeout
-- Returns  {"waiting"} | {"dropped", why}
-- Holds    the time begins once, however often it is said; it stays unclaimed: a report or a claim ends the wait
-- Cost     O(log timers)
-- @include run
local record, open, timers = KEYS[1], KEYS[2], KEYS[3]
local run, seq, attempt, token, close_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local status = redis.call('HGET', record, 'status')
if not status or not is_open(status) then return {'dropped', 'run ' .. (status or 'unknown')} end
local packed = redis.call('HGET', open, seq .. ':s')
local state = packed and cmsgpack.unpack(packed)
if not state or state[1] ~= attempt or state[2] ~= token or state[3] ~= 'scheduled' then
  return {'dropped', 'not scheduled'}
end

local member = run .. '/' .. seq
redis.call('ZREM', timers, member .. '/start')
if not redis.call('ZSCORE', timers, member .. '/close') then
  redis.call('ZADD', timers, int(now_ms() + close_ms), member .. '/close')
end
return {'waiting'}
