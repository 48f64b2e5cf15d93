-- sandbox_coroutine: pcall, and coroutines for the scheduler. Limits cannot be caught. What user code can do with
-- coroutines, and xpcall, is in coroutine_library.lua.
local rt = ...
local raw = rt.raw
local cpcall, ccreate, rethrow = raw.pcall, raw.coroutine.create, rt.rethrow
local tasks = rt.drivers -- coroutines of the scheduler, closed to user code

rt.on_demand(rt, "coroutine_library", "is_task suspend")
rt.libs.coroutine = rt.on_demand({}, "coroutine_library", "create resume wrap yield status running isyieldable close")

local function caught(ok, err, ...)
  if ok then return true, err, ... end
  return false, rethrow(err)
end

rt.caught = caught

function rt.pcall(...) return caught(cpcall(...)) end

-- A coroutine for the scheduler: under the limits, and out of reach of user code.
function rt.new_task(fn)
  local task = rt.meter(ccreate(fn))
  tasks[task] = true
  return task
end
return true
