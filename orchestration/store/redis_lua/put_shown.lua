-- put_shown: say when the Celery task of a run is looked after the next time, unless a step has asked for it meanwhile.
-- KEYS[1]  shown    zset   <shard>:shown
-- ARGV[1]  run      string
-- ARGV[2]  held     string until when it was held, as take_shown said; empty: it was not
-- ARGV[3]  after    int    ms from now; 0: never
-- Returns  {"put"} | {"asked"}
-- @include run
local shown, run = KEYS[1], ARGV[1]
local due = redis.call('ZSCORE', shown, run)
if ARGV[2] ~= '' and (not due or tonumber(due) ~= tonumber(ARGV[2])) then return {'asked'} end
if ARGV[2] == '' then
  redis.call('ZADD', shown, 'LT', int(now_ms() + ARGV[3]), run)
elseif ARGV[3] == '0' then
  redis.call('ZREM', shown, run)
else
  redis.call('ZADD', shown, int(now_ms() + ARGV[3]), run)
end
return {'put'}
