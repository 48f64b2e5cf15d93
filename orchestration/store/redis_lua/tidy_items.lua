-- tidy_items: remove what has ended in a store.
-- KEYS[1]  items     hash   <actors>:store:<store id>
-- KEYS[2]  order     zset   <actors>:store-keys:<store id>
-- KEYS[3]  ends      zset   <actors>:store-ends:<store id>
-- ARGV[1]  limit     int    most keys to remove
-- Returns  {"ok", removed}
-- Holds    safe to repeat
-- Cost     O(limit * log keys)
-- @include run
-- @include items
local items, order, ends, limit = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1])
return {'ok', int(purge_items(items, order, ends, now_ms(), limit))}
