-- forget_service: forget a service that nobody looks after.
-- KEYS[1]  nodes     zset   <actors>:nodes
-- KEYS[2]  services  set    <actors>:services
-- KEYS[3]  record    hash   <actors>:service:<instance>
-- KEYS[4]  wishes    hash   <actors>:service-wishes
-- ARGV[1]  instance  string id of its entry, or with the node it belongs to
-- ARGV[2]  node      string that node; empty: it belongs to none
-- Returns  {"forgotten"} | {"held", owner}
-- Holds    what an operator wants is forgotten too, unless the instance belonged to a node; safe to repeat
-- Cost     O(1)
local nodes, services, record, wishes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local instance, node = ARGV[1], ARGV[2]
for _, owner in ipairs({node, redis.call('HGET', record, 'owner') or ''}) do
  if owner ~= '' and redis.call('ZSCORE', nodes, owner) then return {'held', owner} end
end
redis.call('SREM', services, instance)
redis.call('DEL', record)
if node == '' then redis.call('HDEL', wishes, instance) end
return {'forgotten'}
