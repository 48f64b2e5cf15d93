-- inspect_run: what there is to move a run, and to answer each of its open commands, all at one moment.
-- KEYS[1]  record      hash  <shard>:run:<run>
-- KEYS[2]  inbox       list  <shard>:inbox:<run>
-- KEYS[3]  open        hash  <shard>:open:<run>
-- KEYS[4]  timers      zset  <shard>:timers
-- KEYS[5]  ready       zset  <shard>:ready
-- KEYS[6]  pending     zset  <shard>:pending
-- KEYS[7]  parked_runs zset  <shard>:parked-runs
-- KEYS[8]  outbox      hash  <shard>:outbox
-- KEYS[9]  outbox_due  zset  <shard>:outbox-due
-- KEYS[10] open_runs   zset  <shard>:open-runs
-- ARGV[1]  run         string
-- ARGV[2]  heads       int    of so many unread inputs the beginnings are returned
-- ARGV[3]  after       int    only open commands with a greater number
-- ARGV[4]  most        int    and so many of them, in the order of their numbers
-- Returns  {"open", time, {name, value, ... of the record}, unread, {beginning...},
--          {ready, parked, listed, delay, deadline, run timeout, expiry},
--          {{seq, what, state, source, outbox id, its due time, {source that it should not have...}}, ...},
--          number of the last command if there are more, else ""}
--          | {"closed", status}
-- Holds    times are in ms, "" where there is none; reads only
-- Cost     O(open commands + heads)
-- @include run
local record, inbox, open, timers, ready = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local pending, parked_runs, outbox, outbox_due, open_runs = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local run = ARGV[1]

local status = redis.call('HGET', record, 'status')
if not status or not is_open(status) then return {'closed', status or 'unknown'} end

-- Asks for many at once, page by page: what a command answers for each name, or '' for none.
local function ask(command, key, names)
  local found = {}
  for from = 1, #names, 1000 do
    local last = math.min(from + 999, #names)
    local page = redis.call(command, key, unpack(names, from, last))
    for i = from, last do found[i] = page[i - from + 1] or '' end
  end
  return found
end

-- An activity has its state in a field of its own; of the others, what is kept of them says what they are.
local after, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local all, seqs, fields, more = {}, {}, {}, ''
for _, field in ipairs(redis.call('HKEYS', open)) do
  all[field] = true
  local seq = tonumber(field) -- nil for what else is kept of a command
  if seq and seq > after then seqs[#seqs + 1] = seq end
end
if #seqs > most then
  table.sort(seqs)
  for i = #seqs, most + 1, -1 do seqs[i] = nil end
  more = int(seqs[most])
end
for i, number in ipairs(seqs) do
  local seq = int(number)
  seqs[i], fields[i] = seq, all[seq .. ':s'] and seq .. ':s' or seq
end
local kept = ask('HMGET', open, fields)

-- What moves an attempt on, in each of its states. Of one that is scheduled and in the hands of a worker that claims
-- nothing the start-to-close time runs too.
local sources = {scheduled = 'pending', claimed = '/close', waiting = '/close', external = '/close', backoff = '/retry'}
local in_timers, in_pending, entries = {}, {}, {}
local commands = {}
for i, seq in ipairs(seqs) do
  local member, value = run .. '/' .. seq, kept[i]
  local command = {seq, '?', '', '', '', '', {}}
  commands[i] = command
  if fields[i] ~= seq then
    local state = cmsgpack.unpack(value) -- {attempt, token, state, ...}
    local source = sources[state[3]] or ''
    command[2], command[3] = 'a', value
    in_pending[#in_pending + 1] = {command, member, source == 'pending', 'pending'}
    for _, suffix in ipairs({'/close', '/retry'}) do
      if suffix ~= '/close' or state[3] ~= 'scheduled' then
        in_timers[#in_timers + 1] = {command, member .. suffix, source == suffix, suffix}
      end
    end
    if state[3] == 'scheduled' then entries[#entries + 1] = {command, 'a/' .. member .. '/' .. state[1]} end
  else
    local kind = string.sub(value, 1, 1)
    if kind == 't' then
      command[2] = 't'
      in_timers[#in_timers + 1] = {command, member .. '/timer', true}
    elseif kind == 'o' or kind == 'c' then
      command[2] = kind == 'c' and value or kind
      for _, letter in ipairs(kind == 'c' and {'k/', 'w/'} or {'m/', 'x/'}) do
        entries[#entries + 1] = {command, letter .. member}
      end
    end
  end
end

local function names_of(asked)
  local names = {}
  for i, pair in ipairs(asked) do names[i] = pair[2] end
  return names
end
local function note(asked, scores)
  for i, score in ipairs(scores) do
    local command, is_its_source, name = asked[i][1], asked[i][3], asked[i][4]
    if is_its_source then
      command[4] = score
    elseif score ~= '' then
      table.insert(command[7], name)
    end
  end
end
note(in_timers, ask('ZMSCORE', timers, names_of(in_timers)))
note(in_pending, ask('ZMSCORE', pending, names_of(in_pending)))
local due = ask('ZMSCORE', outbox_due, names_of(entries))
for i, entry in ipairs(ask('HMGET', outbox, names_of(entries))) do
  if entry ~= '' then entries[i][1][5], entries[i][1][6] = entries[i][2], due[i] end
end

local beginnings = {}
for i, input in ipairs(redis.call('LRANGE', inbox, 0, tonumber(ARGV[2]) - 1)) do
  beginnings[i] = string.sub(input, 1, 16)
end
local deadlines = ask('ZMSCORE', timers, {run .. '/delay', run .. '/exec', run .. '/run', run .. '/expire'})
local marks = {redis.call('ZSCORE', ready, run) or '', redis.call('ZSCORE', parked_runs, run) or '',
  redis.call('ZSCORE', open_runs, run) or '', unpack(deadlines)}
return {'open', int(now_ms()), redis.call('HGETALL', record), redis.call('LLEN', inbox), beginnings, marks, commands,
  more}
