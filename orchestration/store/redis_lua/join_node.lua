-- join_node: make an OS process known that runs processes, or waits for messages.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- KEYS[2]  node     hash   <actors>:node:<id>
-- ARGV[1]  name     string id of the node
-- ARGV[2]  info     bytes  what it is, for those who look
-- Returns  {"ok"}
-- Holds    safe to repeat
-- Cost     O(log nodes)
-- @include run
local nodes, node, name, info = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
redis.call('HSET', node, 'info', info)
redis.call('ZADD', nodes, int(now_ms()), name)
return {'ok'}
