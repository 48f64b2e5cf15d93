-- note_report: a worker that claims nothing has reported an attempt: what that shows of its queue, and what it left.
-- KEYS[1]  pending    zset  <shard>:pending
-- KEYS[2]  frontier   hash  <shard>:frontier
-- KEYS[3]  leftovers  zset  <shard>:leftovers
-- ARGV[1]  member    string <run>/<seq>
-- ARGV[2]  queue     string where its message was; empty: not known
-- ARGV[3]  leftover  string task id and name of the task whose result has been stored; empty: none
-- ARGV[4]  delay_ms  int    until the result is deleted: it may be stored after the report has been sent
-- Returns  {"ok"}
-- Holds    the frontier only moves on
-- Cost     O(log pending)
-- @include run
local pending, frontier, leftovers = KEYS[1], KEYS[2], KEYS[3]
local member, queue, leftover, delay_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local sent = redis.call('ZSCORE', pending, member)
if sent and queue ~= '' then
  local seen = redis.call('HGET', frontier, queue)
  if not seen or tonumber(seen) < tonumber(sent) then redis.call('HSET', frontier, queue, sent) end
end
if leftover ~= '' then redis.call('ZADD', leftovers, int(now_ms() + delay_ms), leftover) end
return {'ok'}
