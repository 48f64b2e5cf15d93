-- Shared by the scripts that commit a step. Needs includes run, index, close and next.
-- A step s: run, fence, commit, owner, lease_ms, limit, consumed, dropped, time, events, ops, push, ending, retention_ms,
-- mark_ms, channel, grace_ms, eta_max, next (the run that follows, or nil); claims and shown are keys.

-- Number of elements of each op, its name included. Ops are checked before anything is written: an error in the
-- middle would leave a step half done.
local sizes = {open = 3, timer = 3, eta = 4, sent = 2, shut = 3, extra = 3, out = 3, input = 2, search = 4, claim = 2,
  cancel = 3, answer = 4, tell = 3, show = 2}
local function bad_op(op)
  if sizes[op[1]] ~= #op then return true end
  for i = 2, #op do
    local kind = type(op[i])
    if (kind == 'table') ~= ((op[1] == 'eta' or op[1] == 'search') and i == 4) or kind == 'boolean' then return true end
  end
  return (op[1] == 'timer' or op[1] == 'eta') and not tonumber(op[3])
end

-- What keeps a step from being written, as an error text; nil when nothing does.
local function step_problem(s)
  local wakes = {}
  for _, op in ipairs(s.ops) do
    if bad_op(op) then return 'ERR no such op, or not its arguments: ' .. tostring(op[1]) end
    if op[1] == 'eta' then wakes[#wakes + 1] = op[4] end
  end
  local push = s.push
  local bad = bad_push(push[3], push[1], push[2]) or bad_push(wakes, push[1], push[2])
  if bad then return 'ERR the broker key ' .. bad .. ' is no list' end
  return s.next and next_problem(s.next)
end

-- What the holder of a committed step does next: goes on with more inputs, or has given the lease up.
-- Returns {"done", fence, length} | {"more", fence, time, length, tries, tail, input...}
local function answer_step(keys, s)
  local f = redis.call('HMGET', keys.record, 'status', 'fence', 'length', 'owner', 'time')
  if f[1] ~= 'running' or f[4] ~= s.owner then return {'done', f[2], f[3]} end
  local inputs = read_inputs(keys.inbox, s.limit)
  if #inputs == 0 then
    redis.call('HSET', keys.record, 'owner', '', 'until', 0)
    redis.call('ZREM', keys.ready, s.run)
    return {'done', f[2], f[3]}
  end
  local now = now_ms()
  redis.call('HSET', keys.record, 'until', int(now + s.lease_ms), 'tries', 1)
  redis.call('ZADD', keys.ready, int(now + s.lease_ms), s.run)
  local reply = {'more', f[2], int(math.max(now, tonumber(f[5]))), f[3], '1', {}}
  for i, input in ipairs(inputs) do reply[6 + i] = input end
  return reply
end

local function forget_deadlines(keys, member)
  redis.call('ZREM', keys.timers, member .. '/timer', member .. '/start', member .. '/close', member .. '/beat',
    member .. '/retry', member .. '/whole')
  redis.call('ZREM', keys.handed, member .. '/timer')
  redis.call('ZREM', keys.pending, member)
end

-- Asks an activity to stop and waits for its answer: its body is told; when none runs, the answer is the input given.
local function cancel_activity(keys, run, seq, input, now)
  local packed = redis.call('HGET', keys.open, seq .. ':s')
  local state = packed and cmsgpack.unpack(packed) -- {attempt, token, state, ...}
  if not state or state[3] == 'reported' then return end
  if state[3] == 'claimed' or state[3] == 'external' then
    redis.call('HSET', keys.open, seq .. ':c', int(now))
    return
  end
  forget_deadlines(keys, run .. '/' .. seq)
  redis.call('HSET', keys.open, seq .. ':s', cmsgpack.pack({state[1], state[2], 'reported', '', '', int(now)}))
  redis.call('RPUSH', keys.inbox, input)
end

-- Sets off what the commands of a step, or of a history that is gone on with, ask for. s: run, ops, push, retention_ms,
-- grace_ms, eta_max; claims and shown are keys.
local function perform_ops(keys, s, now)
  local push = s.push
  for _, op in ipairs(s.ops) do
    local name = op[1]
    if name == 'open' then -- field, value: a command that waits
      redis.call('HSET', keys.open, op[2], op[3])
    elseif name == 'timer' then -- member, due
      redis.call('ZADD', keys.timers, op[3], op[2])
    elseif name == 'eta' then -- member, due, push: a near timer; its wake-up is an ETA task, as long as there are few
      if redis.call('ZCARD', keys.handed) < s.eta_max then
        push_all({op[4]}, push[1], push[2])
        redis.call('ZADD', keys.handed, op[3], op[2])
      end
    elseif name == 'sent' then -- member: an attempt's message is among the pushes or in the outbox
      redis.call('ZADD', keys.pending, int(now), op[2])
    elseif name == 'shut' then -- seq, how: the command waits no more; its answer came, or it was taken back
      redis.call('HDEL', keys.open, op[2], op[2] .. ':s', op[2] .. ':e', op[2] .. ':h', op[2] .. ':c')
      if op[3] == 'cancelled' then forget_deadlines(keys, s.run .. '/' .. op[2]) end
    elseif name == 'cancel' then -- seq, input
      cancel_activity(keys, s.run, op[2], op[3], now)
    elseif name == 'claim' then -- member: the holder's process runs the body of an attempt
      redis.call('SADD', s.claims, op[2])
      keep_for(s.claims, math.max(math.abs(s.retention_ms), 30 * 86400000)) -- longer than a body may take
    elseif name == 'extra' then -- field, value
      redis.call('HSET', keys.extra, op[2], op[3])
    elseif name == 'search' then -- attribute, value as it is shown, values as they are indexed
      index_attribute(keys.index, keys.record, keys.extra, s.run, op[2], op[3], op[4])
    elseif name == 'out' then -- id, entry
      redis.call('HSET', keys.outbox, op[2], op[3])
      redis.call('ZADD', keys.outbox_due, int(now + s.grace_ms), op[2])
    elseif name == 'answer' then -- update, answer, why refused or empty: what the sender of an update is told
      redis.call('HSET', keys.updates, op[2], op[3])
      if op[4] ~= '' then redis.call('HINCRBY', keys.record, 'refused:' .. op[4], 1) end
    elseif name == 'tell' then -- channel, text: to those who wait outside
      redis.call('PUBLISH', op[2], op[3])
    elseif name == 'show' then -- ms: the state of the Celery task is to say within this time where the run stands
      redis.call('ZADD', s.shown, 'LT', int(now + op[2]), s.run)
    elseif name == 'input' then -- input that the step itself caused
      redis.call('RPUSH', keys.inbox, op[2])
    end
  end
end

-- Writes a step that has been checked. old: fence, length and bytes of the record before it.
-- Returns what answer_step does.
local function write_step(keys, s, old)
  local push, now, events, bytes = s.push, now_ms(), s.events, 0
  for _, event in ipairs(events) do bytes = bytes + #event end
  push_all(push[3], push[1], push[2])
  for from = 1, #events, 1000 do
    redis.call('RPUSH', keys.history, unpack(events, from, math.min(from + 999, #events)))
  end
  local fence, length = int(tonumber(old.fence) + 1), int(tonumber(old.length) + #events)
  redis.call('HSET', keys.record, 'commit', s.commit, 'time', s.time, 'owner', s.owner, 'tries', 0, 'fence', fence,
    'length', length, 'bytes', int(tonumber(old.bytes) + bytes))
  if s.consumed > 0 then redis.call('LTRIM', keys.inbox, s.consumed, -1) end
  if s.dropped > 0 then redis.call('HINCRBY', keys.record, 'dropped:command closed', s.dropped) end
  perform_ops(keys, s, now)
  if s.ending ~= '' then
    -- once a state has been written, the end of the run is looked at: it must not be the last one
    if redis.call('HEXISTS', keys.record, 'shown') == 0 then redis.call('ZREM', s.shown, s.run) end
    local carried = s.next and carry_inbox(keys, s.next)
    close_run(keys, s.run, s.ending, now, s.retention_ms, s.mark_ms, carried)
    if s.next then begin_next(keys, s.run, s.next, now, s.grace_ms) end
    redis.call('PUBLISH', s.channel, s.ending)
  end
  tell_followers(keys.record)
  return answer_step(keys, s)
end
