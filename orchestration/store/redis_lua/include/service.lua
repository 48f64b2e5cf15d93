-- Shared by the scripts of whoever looks after a service; needs the functions of run.lua. A lease is held by a node, under
-- the number it was given.

local function holds(record, node, fence)
  local held = redis.call('HMGET', record, 'owner', 'fence')
  return held[1] == node and held[2] == fence
end

-- Writes down where a service stands: fields by name and value, for how many milliseconds it has stood there, and in how
-- many the next attempt is (-1: none).
local function note(record, age, due, fields)
  local now = now_ms()
  redis.call('HSET', record, 'since', int(now - age), 'due', due < 0 and '0' or int(now + due), unpack(fields))
end
