-- os_library: os.time, os.clock, os.difftime and os.date, by the clock of the run.
local rt = ...
local os = rt.libs.os

function os.time(t)
  if t ~= nil then
    local seconds = rt.require_prelude("sandbox_os").time(t)
    return seconds
  end
  return rt.now_ns() // 1000000000
end
function os.clock() return rt.now_ns() / 1e9 end
function os.difftime(a, b) return (a or 0) - (b or 0) + 0.0 end
function os.date(format, t)
  local text = rt.require_prelude("sandbox_os").date(format, t)
  return text
end
return true
