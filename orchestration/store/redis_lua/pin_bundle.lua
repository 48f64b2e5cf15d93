-- pin_bundle: give a run its code that was started where the code was not known.
-- KEYS[1]  record   hash    <shard>:run:<run>
-- KEYS[2]  bundle   string  <shard>:bundle:<digest>
-- KEYS[3]  bundles  hash    <shard>:bundles
-- KEYS[4]  extra    hash    <shard>:extra:<run>
-- KEYS[5]  index    zset    <shard>:index
-- KEYS[6]  types    hash    <shard>:types
-- ARGV[1]  digest   string
-- ARGV[2]  code     bytes   the bundle
-- ARGV[3]  type     string  entry id of the code
-- ARGV[4]  run      string
-- Returns  {"pinned", digest} | {"closed", status}
-- Holds    the first code that a run is given stays; a later call is answered with it
-- @include run
-- @include index
local record, bundle, bundles, digest = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local extra, index, types = KEYS[4], KEYS[5], KEYS[6]
local f = redis.call('HMGET', record, 'status', 'bundle')
if not f[1] or not is_open(f[1]) then return {'closed', f[1] or 'unknown'} end
if f[2] ~= '' then return {'pinned', f[2]} end
if redis.call('EXISTS', bundle) == 1 then redis.call('PERSIST', bundle) else redis.call('SET', bundle, ARGV[2]) end
redis.call('HINCRBY', bundles, digest, 1)
-- Its start may have known another name of the type, by which it is found up to now.
for _, member in ipairs((members_of(types, record, extra, ARGV[4]))) do redis.call('ZREM', index, member) end
redis.call('HSET', record, 'bundle', digest, 'type', ARGV[3])
index_run(index, types, record, extra, ARGV[4])
return {'pinned', digest}
