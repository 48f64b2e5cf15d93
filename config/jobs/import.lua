-- Imports rows and reports to an address: "progress" {done, of}; a row that fails is counted. Returns a summary.
local funcs = require("funcs")

local function main(rows, report_to)
  local canceled
  coroutine.spawn(function() -- listens beside the work; events() has no buffer, so somebody has to wait for one
    local event = process.events():receive()
    canceled = event.reason or event.kind
  end)
  local done, failed = 0, 0
  for i, row in ipairs(rows) do
    if canceled then return { done = done, failed = failed, canceled = canceled } end
    local _, err = funcs.call("app.jobs:import_row", row)
    if err then failed = failed + 1 else done = done + 1 end
    if report_to then process.send(report_to, "progress", { done = i, of = #rows }) end
  end
  return { done = done, failed = failed }
end
return main
