-- Imports rows and reports to an address: "progress" {done, of}; a row that fails is counted. Returns a summary.
local funcs = require("funcs")

local function main(rows, report_to)
  local events = process.events()
  local done, failed = 0, 0
  for i, row in ipairs(rows) do
    local got = channel.select { events:case_receive(), default = true }
    if got.channel == events and got.value.kind == process.event.CANCEL then
      return { done = done, failed = failed, canceled = got.value.reason }
    end
    local _, err = funcs.call("app.jobs:import_row", row)
    if err then failed = failed + 1 else done = done + 1 end
    if report_to then process.send(report_to, "progress", { done = i, of = #rows }) end
  end
  return { done = done, failed = failed }
end
return main
