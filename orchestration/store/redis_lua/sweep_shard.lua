-- sweep_shard: find what needs a hand in one shard, and take it for a moment so that others leave it alone.
-- KEYS[1]  ready       zset  <shard>:ready
-- KEYS[2]  timers      zset  <shard>:timers
-- KEYS[3]  handed      zset  <shard>:handed
-- KEYS[4]  outbox      hash  <shard>:outbox
-- KEYS[5]  outbox_due  zset  <shard>:outbox-due
-- KEYS[6]  pending     zset  <shard>:pending
-- KEYS[7]  closed_runs zset  <shard>:closed-runs
-- KEYS[8]  index       zset  <shard>:index
-- KEYS[9]  ended       hash  <shard>:ended
-- KEYS[10] unarchived  zset  <shard>:unarchived
-- KEYS[11] schedules   zset  <shard>:schedules-due
-- KEYS[12] leftovers   zset  <shard>:leftovers
-- KEYS[13] shown       zset  <shard>:shown
-- ARGV[1]  limit       int    most of each kind
-- ARGV[2]  hold_ms     int    for which a found one is left alone
-- ARGV[3]  horizon_ms  int    timers due within it are handed to the broker
-- ARGV[4]  eta_max     int    most timers handed to the broker at once
-- ARGV[5]  overdue_ms  int    a handed timer this late is fired here
-- ARGV[6]  unclaimed_ms int   an attempt unclaimed this long is looked at
-- ARGV[7]  retention_ms int
-- ARGV[8]  skip        int    of the unclaimed attempts, those looked at before
-- ARGV[9]  skip_due    int    of the deadlines that are due, those given out before
-- Returns  {time, {run...}, {member, due...} to hand over, {member...} to fire, {id, entry...}, {member, sent...},
--          next due time of what is in no other hand, or "", next look at a schedule, or "",
--          {leftover...}, next look after a Celery task, or "" }
-- Holds    deadlines are not taken, since they are checked against their time again: those that cannot be seen to yet
--          must not hide the ones behind them
-- Cost     O(limit + timers handed over + skip_due)
-- @include run
-- @include index
local ready, timers, handed, outbox, outbox_due = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local pending, closed_runs, index, ended, leftovers = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[12]
local limit, hold_ms, horizon_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()

local runs = redis.call('ZRANGEBYSCORE', ready, '-inf', int(now), 'LIMIT', 0, limit)
for _, run in ipairs(runs) do redis.call('ZADD', ready, int(now + hold_ms), run) end

local hand, fire = {}, {}
local room = tonumber(ARGV[4]) - redis.call('ZCARD', handed)
-- Those already handed over stay in the set until they fire: they must not hide what comes after them.
local skip_due = tonumber(ARGV[9])
local page = limit * 4 + redis.call('ZCARD', handed) + skip_due
local near = redis.call('ZRANGEBYSCORE', timers, '-inf', int(now + horizon_ms), 'WITHSCORES', 'LIMIT', 0, page)
local coming = ''
for i = 1, #near, 2 do
  local member, due = near[i], tonumber(near[i + 1])
  local is_timer = string.sub(member, -6) == '/timer'
  local given = is_timer and redis.call('ZSCORE', handed, member)
  if given then
    if tonumber(given) + tonumber(ARGV[5]) <= now and #fire < limit then
      redis.call('ZADD', handed, int(now + hold_ms), member)
      fire[#fire + 1] = member
    end
  elseif due <= now and not is_timer and skip_due > 0 then
    skip_due = skip_due - 1
  elseif due <= now then
    if #fire < limit then
      fire[#fire + 1] = member
      if is_timer then redis.call('ZADD', handed, int(now + hold_ms), member) end
    elseif coming == '' then
      coming = int(due)
    end
  elseif is_timer and room > 0 and #hand < limit * 2 then
    redis.call('ZADD', handed, int(due), member)
    hand[#hand + 1] = member
    hand[#hand + 1] = near[i + 1]
    room = room - 1
  elseif coming == '' then
    coming = int(due)
  end
end

local left = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', outbox_due, '-inf', int(now), 'LIMIT', 0, limit)) do
  local entry = redis.call('HGET', outbox, id)
  if entry then
    redis.call('ZADD', outbox_due, int(now + hold_ms), id)
    left[#left + 1] = id
    left[#left + 1] = entry
  else
    redis.call('ZREM', outbox_due, id)
  end
end

local unclaimed = redis.call('ZRANGEBYSCORE', pending, '-inf', int(now - ARGV[6]), 'WITHSCORES', 'LIMIT', ARGV[8],
  limit)
for _, run in ipairs(redis.call('ZRANGEBYSCORE', closed_runs, '-inf', int(now - ARGV[7]), 'LIMIT', 0, 1000)) do
  if not redis.call('ZSCORE', KEYS[10], run) then
    index_forget(index, ended, run)
    redis.call('ZREM', closed_runs, run)
  end
end
local schedule = redis.call('ZRANGE', KEYS[11], 0, 0, 'WITHSCORES')
local forget = redis.call('ZRANGEBYSCORE', leftovers, '-inf', int(now), 'LIMIT', 0, limit)
for _, leftover in ipairs(forget) do redis.call('ZREM', leftovers, leftover) end
local shown = redis.call('ZRANGE', KEYS[13], 0, 0, 'WITHSCORES')
return {int(now), runs, hand, fire, left, unclaimed, coming, schedule[2] or '', forget, shown[2] or ''}
