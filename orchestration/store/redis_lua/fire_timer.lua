-- fire_timer: turn a due timer of a workflow into an input; whoever takes it from the set does it, once.
-- KEYS[1]  record   hash    <shard>:run:<run>
-- KEYS[2]  open     hash    <shard>:open:<run>
-- KEYS[3]  timers   zset    <shard>:timers
-- KEYS[4]  handed   zset    <shard>:handed
-- KEYS[5]  inbox    list    <shard>:inbox:<run>
-- KEYS[6]  ready    zset    <shard>:ready
-- KEYS[7]  history  list    <shard>:hist:<run>
-- ARGV[1]  run      string
-- ARGV[2]  seq      int     the timer's number
-- ARGV[3]  input    bytes   encoded input without its time
-- ARGV[4]  grace_ms int     after which the sweep looks after the run
-- ARGV[5]  pushes   bytes   msgpack: {db, own_db, pushes} of the wake-up
-- ARGV[6]  owner    string  takes the lease for this process; empty: not wanted
-- ARGV[7]  lease_ms int
-- ARGV[8]  limit    int
-- ARGV[9] known    int     events that the asker knows, -1 for none: it is sent the few after them
-- Returns  {"early", ms} | {"gone"} | {"accepted"} | {"wake"} | {"busy"} | {"idle"} | {"closed", status}
--          | {"lease", fence, time, length, tries, tail, input...}
-- Holds    never early, never twice, timers of one run in the order of their times (while fewer than 100 deadlines of
--          the shard are overdue); with an owner the lease is tried even if the timer was gone
-- Cost     O(log timers)
-- @include run
local record, open, timers, handed, inbox, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local run, seq, owner = ARGV[1], ARGV[2], ARGV[6]
local push = cmsgpack.unpack(ARGV[5])
local member = run .. '/' .. seq .. '/timer'

local due = redis.call('ZSCORE', timers, member)
local now = now_ms()
if due and tonumber(due) > now then return {'early', int(tonumber(due) - now)} end
local bad = bad_push(push[3], push[1], push[2])
if bad then return redis.error_reply('ERR the broker key ' .. bad .. ' is no list') end

local fired = false
if due then
  local status = redis.call('HGET', record, 'status')
  local listening = status and is_open(status)
  -- Wake-ups may overtake each other: the run's own timers that were due before this one fire before it.
  local numbers = {}
  for _, earlier in ipairs(redis.call('ZRANGEBYSCORE', timers, '-inf', '(' .. due, 'LIMIT', 0, 100)) do
    numbers[#numbers + 1] = string.match(earlier, '^' .. run .. '/(%d+)/timer$')
  end
  numbers[#numbers + 1] = seq
  for _, number in ipairs(numbers) do
    redis.call('ZREM', timers, run .. '/' .. number .. '/timer')
    redis.call('ZREM', handed, run .. '/' .. number .. '/timer')
    if listening and redis.call('HEXISTS', open, number) == 1 then
      redis.call('RPUSH', inbox, number == seq and ARGV[3] or '\147\4' .. cmsgpack.pack(tonumber(number)))
      fired = true
    end
  end
end
if owner ~= '' then
  local lease = grant(record, inbox, ready, run, owner, tonumber(ARGV[7]), tonumber(ARGV[8]), KEYS[7],
    tonumber(ARGV[9]))
  if lease[1] == 'busy' and fired then wake(record, ready, run, tonumber(ARGV[4])) end
  return lease
end
if not fired then return {'gone'} end
if not wake(record, ready, run, tonumber(ARGV[4])) then return {'accepted'} end
if #push[3] == 0 then return {'wake'} end
push_all(push[3], push[1], push[2])
return {'accepted'}
