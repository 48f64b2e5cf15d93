-- Shared by the scripts that keep the index of runs. Needs include run.
-- The index is one sorted set for a shard. All scores are 0, so it is in the order of its members' bytes. A member is
-- one of these, then the start of the run (six bytes) and its id without the shard (fifteen bytes):
--   T<number of the type>\0<workflow id>\0   of every run
--   S<status>\0                              of every run that has ended
--   A<attribute>\0<kind><value>\0            of a run with this search attribute; of a list, one for each item
-- So whatever shares such a beginning is in the order of the starts.

-- A time as six bytes, the highest first.
local function six_bytes(ms)
  local bytes = {}
  for i = 6, 1, -1 do
    bytes[i] = string.char(ms % 256)
    ms = math.floor(ms / 256)
  end
  return table.concat(bytes)
end

local function byte_of(hex)
  return string.char(tonumber(hex, 16))
end

-- The end of a run's members.
local function place_of(started, run)
  return six_bytes(tonumber(started)) .. (string.gsub(string.sub(run, 3), '%x%x', byte_of))
end

-- The number of a type, which is given out when its first run starts.
local function type_number(types, name)
  local number = redis.call('HGET', types, name)
  if number then return number end
  number = int(redis.call('HLEN', types) + 1)
  redis.call('HSET', types, name, number)
  return number
end

-- What a run is found by while it is open, as its record and its larger facts have it.
local function members_of(types, record, extra, run)
  local f = redis.call('HMGET', record, 'started', 'type', 'id')
  local place = place_of(f[1], run)
  local members = {'T' .. type_number(types, f[2] or '') .. '\0' .. f[3] .. '\0' .. place}
  for _, field in ipairs(redis.call('HKEYS', extra)) do
    if string.sub(field, 1, 3) == 'ix:' then
      for _, value in ipairs(cmsgpack.unpack(redis.call('HGET', extra, field))) do
        members[#members + 1] = 'A' .. string.sub(field, 4) .. '\0' .. value .. '\0' .. place
      end
    end
  end
  return members, place
end

-- Enters a run that has been written.
local function index_run(index, types, record, extra, run)
  for _, member in ipairs((members_of(types, record, extra, run))) do redis.call('ZADD', index, 0, member) end
end

-- Gives a search attribute of a run another value. The values as they are indexed stay beside it, to be taken out again.
local function index_attribute(index, record, extra, run, name, shown, values)
  local place = place_of(redis.call('HGET', record, 'started'), run)
  local old = redis.call('HGET', extra, 'ix:' .. name)
  for _, value in ipairs(old and cmsgpack.unpack(old) or {}) do
    redis.call('ZREM', index, 'A' .. name .. '\0' .. value .. '\0' .. place)
  end
  for _, value in ipairs(values) do redis.call('ZADD', index, 0, 'A' .. name .. '\0' .. value .. '\0' .. place) end
  redis.call('HSET', extra, 'search:' .. name, shown, 'ix:' .. name, cmsgpack.pack(values))
end

-- Enters the status of a run that ends, and notes all its members: they outlive the record, which expires by itself.
local function index_end(index, types, ended, record, extra, run, status)
  local members, place = members_of(types, record, extra, run)
  members[#members + 1] = 'S' .. status .. '\0' .. place
  redis.call('ZADD', index, 0, members[#members])
  redis.call('HSET', ended, run, cmsgpack.pack(members))
end

-- Takes a run out that is not kept any more.
local function index_forget(index, ended, run)
  local packed = redis.call('HGET', ended, run)
  if not packed then return end
  for _, member in ipairs(cmsgpack.unpack(packed)) do redis.call('ZREM', index, member) end
  redis.call('HDEL', ended, run)
end
