-- change_bundle: let a run go on with other code, which has been replayed against its history.
-- KEYS[1]  record      hash   <shard>:run:<run>
-- KEYS[2]  bundle      string <shard>:bundle:<digest>
-- KEYS[3]  new_bundle  string <shard>:bundle:<digest>
-- KEYS[4]  bundles     hash   <shard>:bundles
-- ARGV[1]  fence       int    as it was when the history was read
-- ARGV[2]  old         string digest of the code it is on
-- ARGV[3]  new         string digest of the other code
-- ARGV[4]  code        bytes  the other code's bundle
-- ARGV[5]  retention_ms int
-- Returns  {"moved", fence} | {"fenced", fence}
-- Holds    raises the fence: a holder at work with the old code cannot commit any more; the same call again is answered
--          as the first time
-- Cost     O(1)
-- @include run
local record, bundle, new_bundle, bundles = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fence, old, new, code, retention_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local f = redis.call('HMGET', record, 'fence', 'status', 'bundle', 'length', 'moved')
if not f[2] or not is_open(f[2]) then return {'fenced', f[1] or '0'} end
if f[3] == new and tonumber(f[1]) == tonumber(fence) + 1 then return {'moved', f[1]} end
if f[1] ~= fence or f[3] ~= old or old == new then return {'fenced', f[1]} end

if redis.call('EXISTS', new_bundle) == 1 then redis.call('PERSIST', new_bundle) else redis.call('SET', new_bundle, code) end
redis.call('HINCRBY', bundles, new, 1)
if redis.call('HINCRBY', bundles, old, -1) <= 0 then
  redis.call('HDEL', bundles, old)
  redis.call('PEXPIRE', bundle, int(retention_ms + 86400000))
end
-- what came before is on the old code's account: <number of its last event>:<digest>, oldest first
local moved = (f[5] and f[5] .. ',' or '') .. f[4] .. ':' .. old
redis.call('HSET', record, 'bundle', new, 'moved', moved)
return {'moved', int(redis.call('HINCRBY', record, 'fence', 1))}
