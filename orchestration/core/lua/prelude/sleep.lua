-- sleep: time.sleep, a durable timer of the run that one task waits for.
local rt = ...
local duration = rt.require_prelude("duration")

local function wake_sleeper(number, task)
  rt.cancel_timer(number)
  rt.wake(task, false)
end

function rt.time.sleep(value)
  local ns, problem = duration.to_ns(value)
  if not ns then return rt.fail("Invalid", "time.sleep: " .. problem) end
  if ns <= 0 then return end
  local crowded = rt.crowded()
  if crowded then return nil, crowded end
  local task = rt.waiter()
  rt.start_timer(duration.to_ms(ns), task)
  task.take_back = wake_sleeper
  if rt.block("time.sleep", duration.to_text(ns)) then return end
  return rt.fail("Canceled", "canceled")
end
return true
