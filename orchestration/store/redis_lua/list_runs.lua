-- list_runs: find the runs of one shard that a query selects, the latest started first, from a position on.
-- KEYS[1]  index       zset  <shard>:index
-- KEYS[2]  types       hash  <shard>:types
-- KEYS[3]  open_runs   zset  <shard>:open-runs
-- KEYS[4]  parked_runs zset  <shard>:parked-runs
-- KEYS[5]  closed_runs zset  <shard>:closed-runs
-- ARGV[1]  query       bytes  msgpack, see orchestration/store/query.py
-- ARGV[2]  page        int    most runs returned; 0 to count them only
-- ARGV[3]  budget      int    most runs looked at in the order of their starts
-- ARGV[4]  start       int    position: only runs that started before this time,
-- ARGV[5]  run         string or at it with an id below this one
-- ARGV[6]  tag         string beginning of the shard's keys, to find the records of what the index names
-- ARGV[7]  shard       string two digits, with which its run ids begin
-- ARGV[8]  most_sorted int    a condition that selects no more is answered from all of them, at most 8,000
-- Returns  {"more", start, run, count, {run, start...}} | {"end", count, {run, start...}}
-- Holds    writes nothing; more says at which position this stopped, which may come with an empty page
-- Cost     O(budget + most_sorted)
-- @include run
-- @include index
local index, types, open_runs, parked_runs, closed_runs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local query, page, budget = cmsgpack.unpack(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local most_sorted = tonumber(ARGV[8])
local pos = {start = tonumber(ARGV[4]), run = ARGV[5]}
local from = query.from

local hex_of = setmetatable({}, {__index = function(known, byte)
  known[byte] = string.format('%02x', string.byte(byte))
  return known[byte]
end})

-- Bytes in order: the operator < would follow the server's locale.
local function below(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function within(value, spans)
  for _, span in ipairs(spans) do
    if not below(value, span[1]) and below(value, span[2]) then return true end
  end
  return false
end

local function comes_after(item, other)
  return item.start < other.start or (item.start == other.start and item.run < other.run)
end

local function comes_before(item, other)
  return comes_after(other, item)
end

local function start_in(member)
  local a, b, c, d, e, f = string.byte(member, -21, -16)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

-- The run that a member of the index names.
local function named(member)
  return {start = start_in(member), run = ARGV[7] .. (string.gsub(string.sub(member, -15), '.', hex_of)),
    place = string.sub(member, -21)}
end

-- Whether a run is selected. Its status is known where it was found; what it was found by is not asked again.
local function matches(item, asked)
  local is_named = (query.types or #query.ids > 0) and (asked ~= 'type' or #query.ids > 1)
  if is_named or query.without or not (item.is_status_known or query.all) then
    local f = redis.call('HMGET', ARGV[6] .. ':run:' .. item.run, 'status', 'type', 'id')
    if not f[1] or not query.statuses[f[1]] then return false end
    if query.types and not query.types[f[2]] then return false end
    if query.without and query.without[f[2]] then return false end
    for _, one in ipairs(query.ids) do
      if within(f[3] .. '\0', one.spans) == one.negated then return false end
    end
  end
  if query.closed_from and asked ~= 'closed' then
    local closed = tonumber(redis.call('ZSCORE', closed_runs, item.run) or -1)
    if closed < query.closed_from or closed > query.closed_to then return false end
  end
  for _, one in ipairs(query.attributes) do
    if one ~= asked then
      local has = false
      if one.exact then
        item.place = item.place or place_of(item.start, item.run)
        for _, span in ipairs(one.spans) do
          has = has or redis.call('ZSCORE', index, 'A' .. one.name .. '\0' .. span[1] .. item.place)
        end
      else
        local values = redis.call('HGET', ARGV[6] .. ':extra:' .. item.run, 'ix:' .. one.name)
        for _, value in ipairs(values and cmsgpack.unpack(values) or {}) do
          has = has or within(value .. '\0', one.spans)
        end
      end
      if (has and true or false) == one.negated then return false end
    end
  end
  return true
end

-- The ways to the runs ------------------------------------------------------------------------------------------------

local function spread(lead, spans, ranges)
  for _, span in ipairs(spans) do ranges[#ranges + 1] = {lead .. span[1], lead .. span[2]} end
  return ranges
end

local function count_ranges(ranges)
  local count = 0
  for _, range in ipairs(ranges) do
    count = count + redis.call('ZLEXCOUNT', index, '[' .. range[1], '(' .. range[2])
  end
  return count
end

-- Each way: about how many runs it leads to; sources in the order of the starts, or what has to be sorted; which
-- condition it stands for; whether the number is exact, if there are no more conditions than these.
local function find_ways()
  local ways, sources, count = {}, {}, 0
  if query.any_open then
    sources[1] = {is_open = true, is_status_known = query.all_open}
    count = redis.call('ZCARD', open_runs)
  end
  for _, status in ipairs(query.closed) do
    local lead = 'S' .. status .. '\0'
    sources[#sources + 1] = {lead = lead, is_status_known = true}
    count = count + count_ranges({{lead, 'S' .. status .. '\1'}})
  end
  ways[1] = {count = count, sources = sources, asked = 'status', conditions = query.asks_status and 1 or 0,
    is_exact = query.all_open or not query.any_open}
  if query.only_parked then
    ways[2] = {count = redis.call('ZCARD', parked_runs), set = parked_runs, asked = 'status', conditions = 1,
      is_exact = true}
  end
  if query.closed_from then
    local closed = redis.call('ZCOUNT', closed_runs, query.closed_from, query.closed_to)
    ways[#ways + 1] = {count = closed, set = closed_runs, asked = 'closed', conditions = 1, is_exact = true}
  end
  for _, one in ipairs(query.attributes) do
    if not one.negated then
      local way = {asked = one, conditions = 1, ranges = spread('A' .. one.name .. '\0', one.spans, {})}
      if one.exact then
        way.sources, way.is_exact = {}, #way.ranges == 1
        for i, range in ipairs(way.ranges) do way.sources[i] = {lead = range[1]} end
      end
      way.count = count_ranges(way.ranges)
      ways[#ways + 1] = way
    end
  end
  local id
  for _, one in ipairs(query.ids) do
    if not one.negated then id = id or one end
  end
  if id or query.types then
    local ranges = {}
    for _, name in ipairs(query.types and query.type_names or redis.call('HKEYS', types)) do
      local lead = 'T' .. (redis.call('HGET', types, name) or '-') .. '\0'
      spread(lead, id and id.spans or {{'', '\255'}}, ranges)
    end
    ways[#ways + 1] = {count = count_ranges(ranges), ranges = ranges, asked = 'type', is_exact = true,
      conditions = (id and 1 or 0) + (query.types and 1 or 0)}
  end
  return ways
end

local answer, selected = {}, 0

-- Takes a run that is selected; true when the page is full.
local function take(item)
  selected = selected + 1
  if page == 0 then return false end
  answer[#answer + 1] = item.run
  answer[#answer + 1] = int(item.start)
  return selected >= page
end

-- The next runs of a source after the position, at most so many; true when there are no more.
local function read_open(source, found, most)
  local offset, added = 0, 0
  while true do
    local pairs_ = redis.call('ZREVRANGEBYSCORE', open_runs, int(pos.start), int(from), 'WITHSCORES', 'LIMIT', offset, most)
    for i = 1, #pairs_, 2 do
      local item = {start = tonumber(pairs_[i + 1]), run = pairs_[i], is_status_known = source.is_status_known}
      if comes_after(item, pos) then
        added = added + 1
        found[#found + 1] = item
      end
    end
    if #pairs_ < 2 * most then return true end
    if added > 0 then return false end
    offset = offset + most
  end
end

local function read_lead(source, found, most)
  local place = six_bytes(pos.start)
  local shard = string.sub(pos.run, 1, 2) -- the position may be at a run of another shard
  if shard == ARGV[7] then
    place = place_of(pos.start, pos.run)
  elseif shard > ARGV[7] then
    place = six_bytes(pos.start + 1)
  end
  local members = redis.call('ZREVRANGEBYLEX', index, '(' .. source.lead .. place, '[' .. source.lead .. six_bytes(from),
    'LIMIT', 0, most)
  for _, member in ipairs(members) do
    local item = named(member)
    item.is_status_known = source.is_status_known
    found[#found + 1] = item
  end
  return #members < most
end

-- Goes through sources that are in the order of the starts. Returns whether it came to the end.
local function walk(way)
  local most = page > 0 and math.max(page, 10) or 500
  while budget > 0 do
    local found, cut = {}, nil
    for _, source in ipairs(way.sources) do
      local is_end = (source.is_open and read_open or read_lead)(source, found, most)
      -- What comes after the last run of this source has to wait for the next ones of it.
      if not is_end and (not cut or comes_before(found[#found], cut)) then cut = found[#found] end
    end
    if #found == 0 then return true end
    most = math.min(most * 2, 1000)
    if #way.sources > 1 then table.sort(found, comes_before) end
    for _, item in ipairs(found) do
      if cut and comes_after(item, cut) then break end
      if comes_after(item, pos) then -- of several values in one list, a run comes once
        pos = item
        budget = budget - 1
        if matches(item, way.asked) and take(item) then return false end
      end
    end
    if not cut then return true end
  end
  return false
end

-- Reads the members of a way that is in no order of starts, sorts them, and goes through them to the end.
local function collect(way)
  local places, starts, seen, least, count = {}, {}, {}, pos.start, 0
  local is_single = type(way.asked) ~= 'table' or way.asked.single -- else the items of a list name a run several times
  local function add(place, start)
    if start < from or start > pos.start then return end
    if not is_single then
      place = string.sub(place, -21)
      if seen[place] then return end
      seen[place] = true
    end
    count = count + 1
    places[count], starts[count] = place, start
    if start < least then least = start end
  end
  for _, range in ipairs(way.ranges or {}) do
    for _, member in ipairs(redis.call('ZRANGEBYLEX', index, '[' .. range[1], '(' .. range[2])) do
      add(member, start_in(member))
    end
  end
  if way.set then
    local low, high = query.closed_from or '-inf', query.closed_to or '+inf'
    if way.asked ~= 'closed' then low, high = '-inf', '+inf' end
    for _, run in ipairs(redis.call('ZRANGEBYSCORE', way.set, low, high)) do
      local start = redis.call('HGET', ARGV[6] .. ':run:' .. run, 'started')
      if start then add(place_of(start, run), tonumber(start)) end
    end
  end
  -- Numbers sort ten times as fast as tables: the start, and the place in the list.
  local order, begin = {}, pos
  for i, start in ipairs(starts) do order[i] = (start - least) * 8192 + i end
  table.sort(order)
  local last = #order
  while last > 0 do
    local start, group = starts[order[last] % 8192], {}
    while last > 0 and starts[order[last] % 8192] == start do
      group[#group + 1] = named(places[order[last] % 8192])
      last = last - 1
    end
    if #group > 1 then table.sort(group, comes_before) end
    for _, item in ipairs(group) do
      if comes_after(item, begin) then
        pos = item
        if matches(item, way.asked) and take(item) then return false end
      end
    end
  end
  return true
end

local best
for _, way in ipairs(find_ways()) do
  if (way.sources or way.count <= most_sorted) and (not best or way.count < best.count) then best = way end
end
local is_end
if page == 0 and best.is_exact and query.conditions == best.conditions then
  selected, is_end = best.count, true
elseif best.sources then
  is_end = walk(best)
else
  is_end = collect(best)
end
if is_end then return {'end', int(selected), answer} end
return {'more', int(pos.start), pos.run, int(selected), answer}
