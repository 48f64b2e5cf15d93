-- claim_name: give a living process a name.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  living   hash   <actors>:living:<id>
-- KEYS[3]  names    hash   <actors>:names
-- KEYS[4]  named    set    <actors>:named:<id>
-- ARGV[1]  sender   string node that asks; empty: one that nothing fences
-- ARGV[2]  unique   string number of the process on its node
-- ARGV[3]  pid      string its address
-- ARGV[4]  name     string
-- Returns  {"ok"} | {"taken", pid} | {"not_found"} | {"gone"}
-- Holds    safe to repeat
-- Cost     O(1)
-- @include fence
local nodes, living, names, named = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local sender, unique, pid, name = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not may_act(nodes, sender) then return {'gone'} end
if redis.call('HEXISTS', living, unique) == 0 then return {'not_found'} end
local owner = redis.call('HGET', names, name)
if owner and owner ~= pid then return {'taken', owner} end
redis.call('HSET', names, name, pid)
redis.call('SADD', named, name)
return {'ok'}
