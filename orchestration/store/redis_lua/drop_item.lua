-- drop_item: delete one key of a store.
-- KEYS[1]  nodes     zset   <actors>:nodes
-- KEYS[2]  items     hash   <actors>:store:<store id>
-- KEYS[3]  order     zset   <actors>:store-keys:<store id>
-- KEYS[4]  ends      zset   <actors>:store-ends:<store id>
-- KEYS[5]  receipt   string <actors>:receipt:<slot>
-- ARGV[1]  node      string node of the writer; empty: one that nothing fences
-- ARGV[2]  request   string unique to this write
-- ARGV[3]  key       bytes
-- Returns  {"ok", existed} | {"gone"}
-- Holds    the same request is done once: of several that delete a key, one is told that it existed
-- Cost     O(log keys)
-- @include run
-- @include fence
-- @include items
local nodes, items, order, ends, receipt = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local node, request, key = ARGV[1], ARGV[2], ARGV[3]
local told = redis.call('GET', receipt)
if told and string.sub(told, 1, #request + 1) == request .. ' ' then return {'ok', string.sub(told, #request + 2)} end
if not may_act(nodes, node) then return {'gone'} end
local existed = live_item(items, ends, key, now_ms()) and '1' or '0'
forget_item(items, order, ends, key)
redis.call('SET', receipt, request .. ' ' .. existed, 'PX', 7200000)
return {'ok', existed}
