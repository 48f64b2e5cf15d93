-- take_shown: find runs whose Celery task is to be looked after, and hold them for a while so that others leave them alone.
-- KEYS[1]  shown    zset   <shard>:shown
-- ARGV[1]  limit    int    most runs
-- ARGV[2]  hold_ms  int    for which a found one is left alone
-- ARGV[3]  tag      string beginning of the shard's keys, to find the records
-- Returns  {until, run...}
-- Holds    a run that is found open is marked: its end is looked at too, however soon it comes
-- Cost     O(limit)
-- @include run
local shown, tag = KEYS[1], ARGV[3]
local now = now_ms()
local held = int(now + ARGV[2])
local runs = redis.call('ZRANGEBYSCORE', shown, '-inf', int(now), 'LIMIT', 0, ARGV[1])
for _, run in ipairs(runs) do
  redis.call('ZADD', shown, held, run)
  local record = tag .. ':run:' .. run
  local status = redis.call('HGET', record, 'status')
  if status and is_open(status) then redis.call('HSET', record, 'shown', 1) end
end
return {held, unpack(runs)}
