-- read_item: read one key of a store.
-- KEYS[1]  items     hash   <actors>:store:<store id>
-- KEYS[2]  order     zset   <actors>:store-keys:<store id>
-- KEYS[3]  ends      zset   <actors>:store-ends:<store id>
-- ARGV[1]  key       bytes
-- ARGV[2]  whole     int    1: with its value; 0: only whether it is there
-- Returns  {"found", version, value} | {"absent"}
-- Holds    what has ended is not found, and is removed
-- Cost     O(log keys)
-- @include run
-- @include items
local items, order, ends = KEYS[1], KEYS[2], KEYS[3]
local key, whole = ARGV[1], ARGV[2]
local item = live_item(items, ends, key, now_ms())
if not item then
  forget_item(items, order, ends, key)
  return {'absent'}
end
local version, value = split_item(item)
if whole == '0' then value = '' end
return {'found', version, value}
