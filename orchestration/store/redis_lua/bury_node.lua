-- bury_node: forget a node that has gone, or is taken for dead, with its processes, their names and their messages.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  node     hash   <actors>:node:<id>
-- KEYS[3]  living   hash   <actors>:living:<id>
-- KEYS[4]  mail     list   <actors>:mail:<id>
-- KEYS[5]  named    set    <actors>:named:<id>
-- KEYS[6]  names    hash   <actors>:names
-- ARGV[1]  name     string id of the node
-- ARGV[2]  silent   int    only when it has been silent for so long; 0: at once
-- Returns  {"buried"} | {"alive"} | {"gone"}
-- Holds    from here on nothing that the node does has an effect, see include/fence.lua
-- Cost     O(processes and names of the node)
-- @include run
local nodes, node, living, mail, named, names = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local name, silent = ARGV[1], tonumber(ARGV[2])
local heard = redis.call('ZSCORE', nodes, name)
if heard and silent > 0 and now_ms() - tonumber(heard) < silent then return {'alive'} end
redis.call('ZREM', nodes, name)
local address = '{' .. name .. '@'
for _, taken in ipairs(redis.call('SMEMBERS', named)) do
  local pid = redis.call('HGET', names, taken)
  if pid and string.sub(pid, 1, #address) == address then redis.call('HDEL', names, taken) end
end
redis.call('DEL', node, living, mail, named)
if not heard then return {'gone'} end
return {'buried'}
