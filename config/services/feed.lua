-- Follows prices until its connection breaks. That is an error, and its supervisor starts it again after a while, here or
-- on another worker; when it is asked to stop it ends by itself.
local process, time, channel = require("process"), require("time"), require("channel")

local function main(options)
  local events = process.events()
  for _ = 1, options.breaks_after do
    local next_price = time.after(options.every)
    local ready = channel.select({ events:case_receive(), next_price:case_receive() })
    if ready.channel == events and ready.value.kind == process.event.CANCEL then
      return "stopped: " .. ready.value.reason
    end
  end
  error("the connection is lost")
end

return main
