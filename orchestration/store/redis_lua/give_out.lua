-- give_out: messages to the broker's queues or to channels, on behalf of a function or process, if it may still act.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- ARGV[1]  node     string node of who sends; empty: one that nothing fences
-- ARGV[2]  pushes   bytes  msgpack: {db, own_db, pushes}
-- Returns  {"sent", count} | {"gone"}
-- Holds    all or nothing. Sent again after a lost reply, they are there twice
-- Cost     O(pushes)
-- @include run
-- @include fence
local nodes, node, push = KEYS[1], ARGV[1], cmsgpack.unpack(ARGV[2])
if not may_act(nodes, node) then return {'gone'} end
local bad = bad_push(push[3], push[1], push[2])
if bad then return redis.error_reply('ERR the broker key ' .. bad .. ' is no list') end
push_all(push[3], push[1], push[2])
return {'sent', #push[3]}
