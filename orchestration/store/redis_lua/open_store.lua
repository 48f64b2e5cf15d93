-- open_store: fix the format and the number of shards of a store at its first use, and refuse others later.
-- KEYS[1]  meta    hash  orc:<namespace>:meta
-- ARGV[1]  format  int
-- ARGV[2]  shards  int
-- Returns  {format, shards} as stored
local meta = KEYS[1]
redis.call('HSETNX', meta, 'format', ARGV[1])
redis.call('HSETNX', meta, 'shards', ARGV[2])
return redis.call('HMGET', meta, 'format', 'shards')
