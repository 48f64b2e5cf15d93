-- drop_name: take a name away, whoever has it.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  names    hash   <actors>:names
-- ARGV[1]  sender   string node that asks; empty: one that nothing fences
-- ARGV[2]  name     string
-- Returns  {"ok", pid} | {"not_found"} | {"gone"}
-- Cost     O(1)
-- @include fence
local nodes, names, sender, name = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if not may_act(nodes, sender) then return {'gone'} end
local owner = redis.call('HGET', names, name)
if not owner then return {'not_found'} end
redis.call('HDEL', names, name)
return {'ok', owner}
