-- wait: a task waits until a condition holds. Returns workflow.wait.
-- Conditions are looked at whenever all tasks are quiet, the oldest first; whoever is woken runs before the next look, so
-- its condition still holds when it goes on.
local rt = ...
local raw = rt.raw
local rawtype, error, remove = raw.type, raw.error, raw.table.remove
local sealed = rt.require_prelude("seal")
local duration = rt.require_prelude("duration")
local is_workflow <const> = rt.mode == "workflow"

local waits = {} -- { task =, fn =, timer = }, the oldest first

local function look(fn)
  local ok, value = sealed("the condition of workflow.wait", fn)
  if not ok then return "raised", value end
  return value and "true" or "false"
end

local function leave(wait)
  for i = 1, #waits do
    if waits[i] == wait then return remove(waits, i) end
  end
end

rt.on_quiet(function()
  for i = 1, #waits do
    local wait = waits[i]
    local state, problem = look(wait.fn)
    if state ~= "false" then
      remove(waits, i)
      if wait.timer then rt.cancel_timer(wait.timer) end
      return rt.wake(wait.task, state, problem)
    end
  end
end)

return function(fn, timeout)
  if rawtype(fn) ~= "function" then rt.typeerror(1, "wait", "function", fn) end
  if not is_workflow then return rt.fail("Invalid", "workflow.wait only available in workflow context") end
  local ns
  if timeout ~= nil then
    local problem
    ns, problem = duration.to_ns(timeout)
    if not ns then return rt.fail("Invalid", "workflow.wait: " .. problem) end
  end
  local task = rt.waiter()
  local state, problem = look(fn)
  if state == "false" and not (ns and ns <= 0) then
    local crowded = ns and rt.crowded()
    if crowded then return nil, crowded end
    local wait = { task = task, fn = fn }
    if ns then
      wait.timer = rt.start_timer(duration.to_ms(ns), function()
        leave(wait)
        rt.wake(task, "late")
      end)
      rt.on_cancel(wait.timer, function(number)
        leave(wait)
        rt.cancel_timer(number)
        rt.wake(task, "cancelled")
      end)
    end
    waits[#waits + 1] = wait
    state, problem = rt.block("workflow.wait", ns and duration.to_text(ns) or nil)
    if state == "late" then state, problem = look(fn) end -- time has passed, which may be what it looks at
  end
  if state == "raised" then error(problem, 0) end
  if state == "cancelled" then return rt.fail("Canceled", "canceled") end
  return state == "true", nil
end
