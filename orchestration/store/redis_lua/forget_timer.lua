-- forget_timer: take a deadline off that nobody waits for any more.
-- KEYS[1]  timers   zset    <shard>:timers
-- KEYS[2]  handed   zset    <shard>:handed
-- KEYS[3]  pending  zset    <shard>:pending
-- ARGV[1]  member   string
-- Returns  {"ok"}
local timers, handed, pending, member = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
redis.call('ZREM', timers, member)
redis.call('ZREM', handed, member)
redis.call('ZREM', pending, member)
return {'ok'}
