-- register_process: make a process known to the deployment, with its name if it has one, before it runs.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  living   hash   <actors>:living:<id>
-- KEYS[3]  names    hash   <actors>:names
-- KEYS[4]  named    set    <actors>:named:<id>
-- ARGV[1]  node     string id of the node that runs it
-- ARGV[2]  unique   string number of the process there
-- ARGV[3]  pid      string its address
-- ARGV[4]  info     bytes  what it is, for those who look
-- ARGV[5]  name     string name to take; empty: none
-- Returns  {"ok"} | {"taken", pid} | {"gone"}
-- Holds    who finds the name taken registers nothing
-- Cost     O(1)
-- @include fence
local nodes, living, names, named = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local node, unique, pid, info, name = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not may_act(nodes, node) then return {'gone'} end
if name ~= '' then
  local owner = redis.call('HGET', names, name)
  if owner and owner ~= pid then return {'taken', owner} end
  redis.call('HSET', names, name, pid)
  redis.call('SADD', named, name)
end
redis.call('HSET', living, unique, info)
return {'ok'}
