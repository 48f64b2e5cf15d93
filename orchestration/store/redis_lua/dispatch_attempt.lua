-- dispatch_attempt: send the message of an attempt that is due, or again one whose message seems lost.
-- KEYS[1]  record     hash   <shard>:run:<run>
-- KEYS[2]  open       hash   <shard>:open:<run>
-- KEYS[3]  timers     zset   <shard>:timers
-- KEYS[4]  pending    zset   <shard>:pending
-- KEYS[5]  outbox     hash   <shard>:outbox
-- KEYS[6]  outbox_due zset   <shard>:outbox-due
-- ARGV[1]  run        string
-- ARGV[2]  seq        int
-- ARGV[3]  attempt    int
-- ARGV[4]  token      string
-- ARGV[5]  state      string the state it must be in: backoff (a retry is due) or scheduled (its message seems lost)
-- ARGV[6]  pushes     bytes  msgpack: {db, own_db, pushes}; without pushes an outbox entry is left
-- ARGV[7]  entry      bytes  the outbox entry
-- ARGV[8]  start_ms   int    schedule-to-start timeout, 0 for none
-- ARGV[9]  grace_ms   int    after which the sweep takes up the outbox entry
-- Returns  {"sent"} | {"outbox", id} | {"dropped", why}
-- Holds    the attempt is the same one: whoever claims first runs it
-- Cost     O(log timers)
-- @include run
local record, open, timers, pending, outbox, outbox_due = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local run, seq, attempt, token = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local push = cmsgpack.unpack(ARGV[6])
local member = run .. '/' .. seq

local status = redis.call('HGET', record, 'status')
if not status or not is_open(status) then
  redis.call('ZREM', timers, member .. '/retry')
  redis.call('ZREM', pending, member)
  return {'dropped', 'run ' .. (status or 'unknown')}
end
local packed = redis.call('HGET', open, seq .. ':s')
local state = packed and cmsgpack.unpack(packed)
if not state or state[1] ~= attempt or state[2] ~= token or state[3] ~= ARGV[5] then
  if ARGV[5] == 'backoff' then redis.call('ZREM', timers, member .. '/retry') end
  return {'dropped', 'not ' .. ARGV[5]}
end
local bad = bad_push(push[3], push[1], push[2])
if bad then return redis.error_reply('ERR the broker key ' .. bad .. ' is no list') end

push_all(push[3], push[1], push[2])
local now = now_ms()
redis.call('ZREM', timers, member .. '/retry', member .. '/close')
redis.call('HSET', open, seq .. ':s', cmsgpack.pack({attempt, token, 'scheduled', '', '', int(now)}))
redis.call('ZADD', pending, int(now), member)
if ARGV[5] == 'backoff' and tonumber(ARGV[8]) > 0 then
  redis.call('ZADD', timers, int(now + ARGV[8]), member .. '/start')
end
tell_followers(record)
if #push[3] > 0 then return {'sent'} end
local id = 'a/' .. member .. '/' .. attempt
redis.call('HSET', outbox, id, ARGV[7])
redis.call('ZADD', outbox_due, int(now + ARGV[9]), id)
return {'outbox', id}
