-- beat_node: say that a node lives, and hear which others do.
-- KEYS[1]  nodes    zset   <actors>:nodes
-- ARGV[1]  name     string id of the node
-- ARGV[2]  silent   int    milliseconds of silence after which a node counts as dead
-- Returns  {"ok", {silent...}, {living...}} | {"gone"}
-- Holds    a node that has been buried is not brought back: it has to join anew, under another id
-- Cost     O(nodes)
-- @include run
local nodes, name, silent = KEYS[1], ARGV[1], tonumber(ARGV[2])
if not redis.call('ZSCORE', nodes, name) then return {'gone'} end
local now = now_ms()
redis.call('ZADD', nodes, int(now), name)
local border = int(now - silent)
return {'ok', redis.call('ZRANGEBYSCORE', nodes, '-inf', '(' .. border), redis.call('ZRANGEBYSCORE', nodes, border, '+inf')}
