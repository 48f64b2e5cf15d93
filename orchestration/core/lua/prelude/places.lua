-- places: where the coroutines of a run stand. Adds to what machine.lua returns: places() -> bytes; to rt: places, with names.
local rt = ...
local raw = rt.raw

local function first_frame(thread)
  local frame = thread and rt.user_frames(thread, 0, 1)[1]
  return frame or { source = "", line = 0, name = "" }
end

-- places() -> bytes: a list of lists: task, file, line, function, waits_for, since_ms. Without names: each sleeping run
-- keeps it, and Redis keeps a hash small while its values have at most 64 bytes.
local function place_list()
  local list = {}
  if rt.is_closed() then return list end
  local tasks, last = rt.living_tasks()
  for id = 1, last do
    local task = tasks[id]
    if task then
      local frame = first_frame(task.inner or task.co)
      if frame.line == 0 then frame = first_frame(task.co) end
      list[#list + 1] = {
        id, frame.source, frame.line, frame.name,
        task.what and (task.what .. (task.detail and " " .. task.detail or "")) or "", task.since or 0,
      }
    end
  end
  return list
end

-- The same for a query handler, with names.
function rt.places()
  local list = place_list()
  for i = 1, #list do
    local task, file, line, name, waits_for, since_ms = raw.table.unpack(list[i])
    list[i] = { task = task, file = file, line = line, ["function"] = name, waits_for = waits_for, since_ms = since_ms }
  end
  return list
end

function rt.machine.places() return rt.pack(place_list()) end
return true
