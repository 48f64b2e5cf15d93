-- Processes that wait for ever, with channel, process and time loaded: for a message or an event, or for a timer, too.
local time = require("time")

local function idle()
  local inbox, events = process.inbox(), process.events()
  return channel.select({ inbox:case_receive(), events:case_receive() }).ok
end

local function timed()
  local inbox, events, timer = process.inbox(), process.events(), time.timer("1h")
  return channel.select({ inbox:case_receive(), events:case_receive(), timer:channel():case_receive() }).ok
end

return { idle = idle, timed = timed }
