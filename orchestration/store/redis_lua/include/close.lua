-- Shared by the scripts that end a run. Needs includes run and index.

-- Takes everything of an ended run out of the ways that lead to a worker, and gives what is kept a lifetime.
-- keys: record, extra, history, inbox, open, timers, handed, ready, pending, open_runs, closed_runs, parked_runs,
--       workflow, bundle, bundles, index, types, ended, outbox, outbox_due, updates, unarchived
-- retention_ms: below zero when the run is kept until it has been archived; then for as long as that without the sign
-- carried: how many unread inputs another run has been given
local function close_run(keys, run, status, now, retention_ms, mark_ms, carried)
  local undelivered = redis.call('LLEN', keys.inbox) - (carried or 0)
  local digest = redis.call('HGET', keys.record, 'bundle') -- now: without retention the record is gone below
  redis.call('HSET', keys.record, 'status', status, 'closed', int(now), 'owner', '', 'until', 0)
  if undelivered > 0 then redis.call('HSET', keys.record, 'undelivered', undelivered) end
  redis.call('HINCRBY', keys.record, 'fence', 1)
  local open = redis.call('HGETALL', keys.open)
  for i = 1, #open, 2 do
    local field, value = open[i], open[i + 1]
    if not string.find(field, ':', 1, true) then
      local member = run .. '/' .. field
      -- A child: what is to become of it stands behind the letter, as an outbox entry.
      if #value > 1 and string.sub(value, 1, 1) == 'c' then
        redis.call('HSET', keys.outbox, 'p/' .. member, string.sub(value, 2))
        redis.call('ZADD', keys.outbox_due, int(now), 'p/' .. member)
      end
      redis.call('ZREM', keys.timers, member .. '/timer', member .. '/start', member .. '/close', member .. '/beat',
        member .. '/retry', member .. '/whole')
      redis.call('ZREM', keys.handed, member .. '/timer')
      redis.call('ZREM', keys.pending, member)
    end
  end
  redis.call('ZREM', keys.timers, run .. '/run', run .. '/exec', run .. '/delay', run .. '/expire')
  redis.call('DEL', keys.open, keys.inbox)
  redis.call('ZREM', keys.ready, run)
  redis.call('ZREM', keys.open_runs, run)
  redis.call('ZREM', keys.parked_runs, run)
  redis.call('ZADD', keys.closed_runs, int(now), run)
  index_end(keys.index, keys.types, keys.ended, keys.record, keys.extra, run, status)
  if retention_ms < 0 then
    redis.call('ZADD', keys.unarchived, int(now), run)
    retention_ms = -retention_ms
  else
    redis.call('PEXPIRE', keys.record, retention_ms)
    redis.call('PEXPIRE', keys.extra, retention_ms)
    redis.call('PEXPIRE', keys.history, retention_ms)
    redis.call('PEXPIRE', keys.updates, retention_ms)
  end
  if redis.call('HGET', keys.workflow, 'run') == run then
    redis.call('PEXPIRE', keys.workflow, int(math.max(retention_ms, mark_ms)))
  end
  if digest ~= '' and redis.call('HINCRBY', keys.bundles, digest, -1) <= 0 then
    redis.call('HDEL', keys.bundles, digest)
    -- the caller may have read the digest before the run was moved to other code
    local bundle = string.match(keys.bundle, '^(.*:bundle:)') .. digest
    redis.call('PEXPIRE', bundle, int(retention_ms + 86400000))
  end
end

-- Appends the event that ends a run from outside. head and tail: the event before and after its time.
local function append_end(keys, head, tail, now)
  -- the time is a msgpack uint 64: 0xcf and eight bytes, highest first
  local time, digits = math.max(now, tonumber(redis.call('HGET', keys.record, 'time'))), {}
  for i = 8, 1, -1 do digits[i] = string.char(time % 256) time = math.floor(time / 256) end
  local event = head .. '\207' .. table.concat(digits) .. tail
  redis.call('RPUSH', keys.history, event)
  redis.call('HINCRBY', keys.record, 'length', 1)
  redis.call('HINCRBY', keys.record, 'bytes', #event)
end

local function close_keys(keys)
  return {
    record = keys[1], extra = keys[2], history = keys[3], inbox = keys[4], open = keys[5], timers = keys[6],
    handed = keys[7], ready = keys[8], pending = keys[9], open_runs = keys[10], closed_runs = keys[11],
    parked_runs = keys[12], workflow = keys[13], bundle = keys[14], bundles = keys[15],
    index = keys[16], types = keys[17], ended = keys[18], outbox = keys[19], outbox_due = keys[20], updates = keys[21],
    unarchived = keys[22],
  }
end
