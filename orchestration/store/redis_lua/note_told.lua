-- note_told: what follows a run that has succeeded has been sent; whoever tries to store its result again sends no more.
-- KEYS[1]  extra  hash    <shard>:extra:<run>
-- ARGV[1]  field  string  what was done
-- Returns  {"noted"} | {"gone"}
-- Holds    it is kept as long as what it is kept with
-- Cost     O(1)
local extra, field = KEYS[1], ARGV[1]
if redis.call('EXISTS', extra) == 0 then return {'gone'} end
redis.call('HSET', extra, field, '1')
return {'noted'}
