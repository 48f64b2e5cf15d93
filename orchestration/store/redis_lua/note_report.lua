-- note_report: a worker that claims nothing has reported an attempt: what that shows of its queue, and what it left.
-- KEYS[1]  pending    zset  <shard>:pending
-- KEYS[2]  frontier   hash  <shard>:frontier
-- KEYS[3]  leftovers  zset  <shard>:leftovers
-- KEYS[4]  open       hash  <shard>:open:<run>
-- ARGV[1]  run       string
-- ARGV[2]  seq       int
-- ARGV[3]  attempt   int
-- ARGV[4]  token     string of the scheduled command
-- ARGV[5]  queue     string where its message was; empty: not known
-- ARGV[6]  leftover  string task id and name of the task whose result has been stored; empty: none
-- ARGV[7]  delay_ms  int    until the result is deleted: it may be stored after the report has been sent
-- Returns  {"ok"}
-- Holds    the frontier only moves on; the report of an earlier attempt says nothing of the message that is out
-- Cost     O(log pending)
-- @include run
local pending, frontier, leftovers, open = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local run, seq, attempt, token, queue = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local leftover, delay_ms = ARGV[6], tonumber(ARGV[7])

local packed = queue ~= '' and redis.call('HGET', open, seq .. ':s')
local state = packed and cmsgpack.unpack(packed) -- {attempt, token, state, ...}
local sent = state and state[1] == attempt and state[2] == token and redis.call('ZSCORE', pending, run .. '/' .. seq)
if sent then
  local seen = redis.call('HGET', frontier, queue)
  if not seen or tonumber(seen) < tonumber(sent) then redis.call('HSET', frontier, queue, sent) end
end
if leftover ~= '' then redis.call('ZADD', leftovers, int(now_ms() + delay_ms), leftover) end
return {'ok'}
