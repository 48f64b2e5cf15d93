-- Shared by the scripts that end a run which goes on as another run of its workflow id. Needs includes run, index and
-- close.
-- A following run n: run, tag, digest, code, fields {name, value, ...}, inputs {input, ...}, delay_ms, timeout_ms, push.

-- What of an unread inbox is meant for the workflow, not for commands of the run that ends: signals, cancel requests,
-- updates. The code is the second byte of an input.
local for_everyone = {[5] = true, [6] = true, [13] = true}

-- Fields of a record that the following run takes over.
local inherited = {'id', 'type', 'queue', 'task', 'parent', 'deadline', 'final', 'opts', 'schedule', 'quiet',
  'trace'}

-- What keeps a following run from being begun, as an error text; nil when nothing does.
local function next_problem(n)
  local bad = bad_push(n.push[3], n.push[1], n.push[2])
  if bad then return 'ERR the broker key ' .. bad .. ' is no list' end
  if n.code == '' and redis.call('EXISTS', n.tag .. ':bundle:' .. n.digest) == 0 then return 'ERR the bundle is missing' end
end

-- The id in an update, whose third byte says how long it is.
local function update_id(input)
  local head = string.byte(input, 3)
  if head == 0xd9 then return string.sub(input, 5, 4 + string.byte(input, 4)) end
  return string.sub(input, 4, 3 + head - 0xa0)
end

-- Moves what a run has not read to the one that follows; to be called before the run is closed.
-- Returns how many inputs were moved.
local function carry_inbox(keys, n)
  local inbox, moved, from = n.tag .. ':inbox:' .. n.run, 0, 0
  for _, input in ipairs(n.inputs) do redis.call('RPUSH', inbox, input) end
  while true do
    local page = redis.call('LRANGE', keys.inbox, from, from + 99)
    for _, input in ipairs(page) do
      if for_everyone[string.byte(input, 2)] then
        redis.call('RPUSH', inbox, input)
        if string.byte(input, 2) == 13 then redis.call('HSET', n.tag .. ':updates:' .. n.run, update_id(input), '') end
        moved = moved + 1
      end
    end
    if #page < 100 then return moved end
    from = from + 100
  end
end

-- Makes the following run; to be called after the run before it is closed.
local function begin_next(keys, run, n, now, grace_ms)
  local record, extra, bundle = n.tag .. ':run:' .. n.run, n.tag .. ':extra:' .. n.run, n.tag .. ':bundle:' .. n.digest
  local f = redis.call('HMGET', keys.record, 'first', unpack(inherited))
  for i, name in ipairs(inherited) do
    if f[i + 1] then redis.call('HSET', record, name, f[i + 1]) end
  end
  if #n.fields > 0 then redis.call('HSET', record, unpack(n.fields)) end
  redis.call('HSET', record, 'status', 'running', 'bundle', n.digest, 'fence', 1, 'time', int(now), 'length', 0,
    'bytes', 0, 'started', int(now), 'first', f[1] or run, 'prev', run)
  redis.call('HSET', keys.record, 'next', n.run)
  -- Attributes go on; who waits for the end waits for the other run's.
  local facts = redis.call('HGETALL', keys.extra)
  for i = 1, #facts, 2 do
    if facts[i] ~= 'places' and facts[i] ~= 'parked' and facts[i] ~= 'paused' then
      redis.call('HSET', extra, facts[i], facts[i + 1])
    end
    if facts[i] == 'request' or string.sub(facts[i], 1, 6) == 'watch:' then redis.call('HDEL', keys.extra, facts[i]) end
  end
  index_run(keys.index, keys.types, record, extra, n.run)
  redis.call('HSET', keys.workflow, 'run', n.run)
  redis.call('PERSIST', keys.workflow)
  if redis.call('EXISTS', bundle) == 1 then redis.call('PERSIST', bundle) else redis.call('SET', bundle, n.code) end
  redis.call('HINCRBY', keys.bundles, n.digest, 1)
  redis.call('ZADD', keys.open_runs, int(now), n.run)
  local begins = now + n.delay_ms
  local deadline = redis.call('HGET', record, 'deadline')
  if deadline then redis.call('ZADD', keys.timers, deadline, n.run .. '/exec') end
  if n.timeout_ms > 0 then redis.call('ZADD', keys.timers, int(begins + n.timeout_ms), n.run .. '/run') end
  if n.delay_ms > 0 then
    redis.call('HSET', record, 'delayed', int(begins))
    redis.call('ZADD', keys.timers, int(begins), n.run .. '/delay')
    return
  end
  redis.call('ZADD', keys.ready, int(now + grace_ms), n.run)
  push_all(n.push[3], n.push[1], n.push[2])
end
