-- process_bonds: monitors, links and names. Adds to the module process: monitor, unmonitor, link, unlink, registry.
local rt = ...
local process = rt.process
local is_workflow <const> = rt.mode == "workflow"

-- What a workflow does not have.
local function unsupported(name, why)
  local text = "process." .. name .. " not supported in workflow context" .. (why or "")
  return function() return rt.fail("Invalid", text) end
end
if is_workflow then
  process.monitor = unsupported("monitor", ": child workflows are automatically monitored")
  process.unmonitor = unsupported("unmonitor")
  process.unlink = unsupported("unlink")
  process.link = unsupported("link", ": Temporal doesn't support bidirectional linking")
else
  local watching = rt.require_prelude("watching")
  process.monitor, process.unmonitor = watching.monitor, watching.unmonitor
  process.link, process.unlink = watching.link, watching.unlink
end
local names = is_workflow and {
  register = unsupported("registry.register"), lookup = unsupported("registry.lookup"),
  unregister = unsupported("registry.unregister"),
} or rt.require_prelude("names")
names.LOCAL, names.EVENTUAL, names.CONSISTENT, names.STRONG = 0, 1, 2, 3
process.registry = rt.readonly("process.registry", names)
return true
