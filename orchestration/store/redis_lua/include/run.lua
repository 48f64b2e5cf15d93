-- Shared by the scripts that hand inputs to a run.

-- Redis' own clock, in whole milliseconds since the epoch.
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function int(n)
  return string.format('%.0f', n)
end

-- Puts a key's end off until so long from now, if it would come before.
local function keep_for(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, int(ms)) end
end

-- Tells those who follow a run, on the channel of its record's name, of a change. See follow_run.
local function tell_followers(record)
  local followed = redis.call('HGET', record, 'followed')
  if followed and tonumber(followed) > now_ms() then redis.call('PUBLISH', record, 'changed') end
end

-- A run that takes inputs: running, paused or parked (these two keep them for later).
local function is_open(status)
  return status == 'running' or status == 'paused' or status == 'parked'
end

-- Give broker messages out. Each push is {command, key, argument...}; db is the broker's database, own_db this
-- store's. Called before the history is written: a message without its commit is refused at its claim.
local function push_all(pushes, db, own_db)
  if #pushes == 0 then return end
  if db ~= own_db then redis.call('SELECT', db) end
  for _, push in ipairs(pushes) do redis.call(unpack(push)) end
  if db ~= own_db then redis.call('SELECT', own_db) end
end

-- Names the first push whose key holds something that is no list, or nil.
local function bad_push(pushes, db, own_db)
  if #pushes == 0 then return nil end
  local bad
  if db ~= own_db then redis.call('SELECT', db) end
  for _, push in ipairs(pushes) do
    if string.lower(push[1]) == 'lpush' then
      local kind = redis.call('TYPE', push[2])['ok']
      if kind ~= 'list' and kind ~= 'none' then bad = push[2] break end
    end
  end
  if db ~= own_db then redis.call('SELECT', own_db) end
  return bad
end

-- The oldest unread inputs: at most so many, and no more after about 4 MiB, so that a reply stays small.
local function read_inputs(inbox, limit)
  local inputs, bytes, from = {}, 0, 0
  while from < limit and bytes < 4194304 do
    local last = math.min(from + 19, limit - 1)
    local page = redis.call('LRANGE', inbox, from, last)
    for _, input in ipairs(page) do
      if #inputs > 0 and bytes + #input > 4194304 then return inputs end
      inputs[#inputs + 1] = input
      bytes = bytes + #input
    end
    if #page <= last - from then break end
    from = last + 1
  end
  return inputs
end

-- The events from one on, or none when they take more than about 1 MiB: the holder then reads them by itself.
local function read_tail(history, known)
  local tail, bytes = {}, 0
  while true do
    local page = redis.call('LRANGE', history, known + #tail, known + #tail + 9)
    for _, event in ipairs(page) do
      tail[#tail + 1] = event
      bytes = bytes + #event
    end
    if bytes > 1048576 then return {} end
    if #page < 10 then return tail end
  end
end

-- Takes the lease if it is free and returns what its holder needs, or tells why not.
-- Returns {"lease", fence, time, length, tries, tail, input...} | {"busy"} | {"idle"} | {"closed", status}
-- tail: the events after the first `known` ones, when they are few; a holder with a machine that stands there catches
-- up with them instead of reading the history.
-- tries: the leases since the last commit: a step that takes its holders down with it can be told by it.
local function grant(record, inbox, ready, run, owner, lease_ms, limit, history, known)
  local f = redis.call('HMGET', record, 'status', 'owner', 'until', 'fence', 'time', 'length', 'tries', 'delayed',
    'expires')
  if f[1] ~= 'running' then
    redis.call('ZREM', ready, run) -- whoever lets it run again puts it back
    return {'closed', f[1] or 'unknown'}
  end
  local now = now_ms()
  if f[2] and f[2] ~= '' and f[2] ~= owner and tonumber(f[3]) > now then return {'busy'} end
  local expired = f[9] and f[6] == '0' and tonumber(f[9]) <= now -- its timer ends it
  if expired or f[8] and tonumber(f[8]) > now then -- its timer begins it
    redis.call('ZREM', ready, run)
    return {'idle'}
  end
  local inputs = read_inputs(inbox, limit)
  if #inputs == 0 then
    redis.call('ZREM', ready, run)
    return {'idle'}
  end
  local tries = int(tonumber(f[7] or '0') + 1)
  redis.call('HSET', record, 'owner', owner, 'until', int(now + lease_ms), 'tries', tries)
  redis.call('ZADD', ready, int(now + lease_ms), run)
  local tail, behind = {}, known and tonumber(f[6]) - known or 0
  if known and known >= 0 and behind > 0 and behind <= 200 then tail = read_tail(history, known) end
  local reply = {'lease', f[4], int(math.max(now, tonumber(f[5]))), f[6], tries, tail}
  for i, input in ipairs(inputs) do reply[6 + i] = input end
  return reply
end

-- Puts a run on the list of those with something to read, unless a live holder will find it by itself.
-- Returns true when a wake-up is needed.
local function wake(record, ready, run, grace_ms)
  local f = redis.call('HMGET', record, 'status', 'owner', 'until', 'delayed')
  if f[1] ~= 'running' then return false end
  local now = now_ms()
  if f[4] and tonumber(f[4]) > now then return false end
  if f[2] and f[2] ~= '' and tonumber(f[3]) > now then
    redis.call('ZADD', ready, f[3], run)
    return false
  end
  -- LT: a stream of inputs must not push the sweep's look further and further away
  redis.call('ZADD', ready, 'LT', int(now + grace_ms), run)
  return true
end
