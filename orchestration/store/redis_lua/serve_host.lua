-- serve_host: let a node be chosen for processes of a host.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  hosts    set    <actors>:host:<entry id>
-- ARGV[1]  name     string id of the node
-- ARGV[2]  serves   int    1: from now on, 0: no longer
-- Returns  {"ok"} | {"gone"}
-- Holds    safe to repeat
-- Cost     O(1)
-- @include fence
local nodes, hosts, name, serves = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if serves == '0' then
  redis.call('SREM', hosts, name)
  return {'ok'}
end
if not may_act(nodes, name) then return {'gone'} end
redis.call('SADD', hosts, name)
return {'ok'}
