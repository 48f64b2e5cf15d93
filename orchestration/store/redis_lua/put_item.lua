-- put_item: write one key of a store.
-- KEYS[1]  nodes     zset   <actors>:nodes
-- KEYS[2]  items     hash   <actors>:store:<store id>
-- KEYS[3]  order     zset   <actors>:store-keys:<store id>
-- KEYS[4]  ends      zset   <actors>:store-ends:<store id>
-- KEYS[5]  versions  hash   <actors>:store-versions
-- KEYS[6]  receipt   string <actors>:receipt:<slot>
-- ARGV[1]  node      string node of the writer; empty: one that nothing fences
-- ARGV[2]  request   string unique to this write
-- ARGV[3]  store     string id of the store
-- ARGV[4]  key       bytes
-- ARGV[5]  value     bytes
-- ARGV[6]  ttl       int    milliseconds until it ends; 0: it does not
-- ARGV[7]  most      int    most keys of the store
-- ARGV[8]  wanted    string version that the key must have; absent: it must not be there; empty: any
-- Returns  {"ok", version} | {"exists", version} | {"conflict", version} | {"full"} | {"gone"}
-- Holds    versions of a store only grow, also over a key that was deleted; the same request is done once
-- Cost     O(log keys), and that of at most ten keys that have ended
-- @include run
-- @include fence
-- @include items
local nodes, items, order, ends, versions, receipt = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local node, request, store, key, value = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local ttl, most, wanted = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local told = redis.call('GET', receipt)
if told and string.sub(told, 1, #request + 1) == request .. ' ' then return {'ok', string.sub(told, #request + 2)} end
if not may_act(nodes, node) then return {'gone'} end
local now = now_ms()
local item = live_item(items, ends, key, now)
local version = item and split_item(item) or '0'
if wanted == 'absent' and item then return {'exists', version} end
if wanted ~= '' and wanted ~= 'absent' and wanted ~= version then return {'conflict', version} end
purge_items(items, order, ends, now, 10)
if not item and redis.call('HEXISTS', items, key) == 0 and redis.call('HLEN', items) >= most then return {'full'} end
version = int(redis.call('HINCRBY', versions, store, 1))
redis.call('HSET', items, key, version .. ':' .. value)
redis.call('ZADD', order, 0, key)
if ttl > 0 then
  redis.call('ZADD', ends, int(now + ttl), key)
else
  redis.call('ZREM', ends, key)
end
redis.call('SET', receipt, request .. ' ' .. version, 'PX', 7200000)
return {'ok', version}
