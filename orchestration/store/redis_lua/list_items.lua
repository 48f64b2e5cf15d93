-- list_items: read a page of a store, in the order of the bytes of its keys.
-- KEYS[1]  items     hash   <actors>:store:<store id>
-- KEYS[2]  order     zset   <actors>:store-keys:<store id>
-- KEYS[3]  ends      zset   <actors>:store-ends:<store id>
-- ARGV[1]  low       bytes  where to begin, as ZRANGEBYLEX takes it
-- ARGV[2]  high      bytes  where to end
-- ARGV[3]  limit     int    most keys to look at
-- ARGV[4]  most      int    bytes after which the page ends
-- Returns  {"ok", more, last, key, version, value, ...}; last is the key that was looked at last
-- Holds    what has ended is left out: a page may have fewer items than there is more
-- Cost     O(log keys + limit)
-- @include run
-- @include items
local items, order, ends = KEYS[1], KEYS[2], KEYS[3]
local low, high, limit, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now, found, bytes, last = now_ms(), {}, 0, ''
local keys = redis.call('ZRANGEBYLEX', order, low, high, 'LIMIT', 0, limit + 1)
for i = 1, math.min(#keys, limit) do
  local item = live_item(items, ends, keys[i], now)
  if item then
    bytes = bytes + #keys[i] + #item
    if #found > 0 and bytes > most then return {'ok', '1', last, unpack(found)} end
    local version, value = split_item(item)
    found[#found + 1], found[#found + 2], found[#found + 3] = keys[i], version, value
  end
  last = keys[i]
end
return {'ok', #keys > limit and '1' or '0', last, unpack(found)}
