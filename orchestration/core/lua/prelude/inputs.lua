-- inputs: what a run does about those that answer its commands or end it; handlers by the code of the input. Messages are
-- in mailbox.lua, the first input in started.lua.
local rt = ...
local unpack_at, answer = rt.unpack_at, rt.answer

-- Nothing that another file has added is replaced.
local function add(code, handler) rt.on_input(code, handler, true) end

-- ACTIVITY_COMPLETED, ACTIVITY_FAILED: number, bytes, info
add(2, function(event, pos)
  local number, bytes
  number, pos = unpack_at(event, pos)
  bytes = unpack_at(event, pos)
  answer(number, true, bytes)
end)
add(3, function(event, pos)
  local number, bytes, info
  number, pos = unpack_at(event, pos)
  bytes, pos = unpack_at(event, pos)
  if pos <= #event then info = unpack_at(event, pos) end
  answer(number, false, bytes, info)
end)
-- TIMER_FIRED: number
add(4, function(event, pos)
  answer((unpack_at(event, pos)), true)
end)
-- CHILD_STARTED: number, pid
add(7, function(event, pos)
  local number, pid
  number, pos = unpack_at(event, pos)
  pid = unpack_at(event, pos)
  answer(number, true, pid)
end)
-- CHILD_START_FAILED: number, failure
add(8, function(event, pos)
  local number, bytes
  number, pos = unpack_at(event, pos)
  bytes = unpack_at(event, pos)
  answer(number, false, bytes)
end)
-- CANCEL_REQUESTED: reason, from
add(6, function(bytes, pos)
  local reason, from
  reason, pos = unpack_at(bytes, pos)
  from = unpack_at(bytes, pos)
  rt.mailbox.event({ kind = "pid.cancel", from = from or "", at = rt.now_ms() // 1000, reason = reason or "" })
end)
-- CHILD_ENDED: number, pid, ok, value
add(9, function(bytes, pos)
  local number, pid, ok, value
  number, pos = unpack_at(bytes, pos)
  pid, pos = unpack_at(bytes, pos)
  ok, pos = unpack_at(bytes, pos)
  value = unpack_at(bytes, pos)
  answer(number, ok, value, pid)
end)
-- OPERATION_DONE: number, ok, bytes
add(10, function(event, pos)
  local number, ok, bytes
  number, pos = unpack_at(event, pos)
  ok, pos = unpack_at(event, pos)
  bytes = unpack_at(event, pos)
  answer(number, ok, bytes)
end)

-- UPDATE, until the code has a handler for one
add(13, function() rt.misfit("an update handler, and the code has none") end)

-- TERMINATED, TIMED_OUT: ended from outside, the code has no say
add(11, function() rt.finish() end)
add(12, function() rt.finish() end)
return true
