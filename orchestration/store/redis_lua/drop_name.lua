-- drop_name: take a name away, whoever has it.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  names    hash   <actors>:names
-- KEYS[3]  named    set    <actors>:named:<id>
-- ARGV[1]  sender   string node that asks; empty: one that nothing fences
-- ARGV[2]  name     string
-- Returns  {"ok", pid} | {"not_found"} | {"gone"}
-- Holds    a process of the node that asks leaves nothing of the name behind; of another node's, until that is buried, it
--          stands among those that the node may have
-- Cost     O(1)
-- @include fence
local nodes, names, named, sender, name = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
if not may_act(nodes, sender) then return {'gone'} end
local owner = redis.call('HGET', names, name)
if not owner then return {'not_found'} end
redis.call('HDEL', names, name)
local address = '{' .. sender .. '@'
if string.sub(owner, 1, #address) == address then redis.call('SREM', named, name) end
return {'ok', owner}
