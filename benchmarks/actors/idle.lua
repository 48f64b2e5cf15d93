-- Waits for ever, with channel, process and time loaded, for a message, an event or a timer of an hour.
local time = require("time")

local function main()
  local inbox, events, timer = process.inbox(), process.events(), time.timer("1h")
  local picked = channel.select({ inbox:case_receive(), events:case_receive(), timer:channel():case_receive() })
  return picked.ok
end

return { main = main }
