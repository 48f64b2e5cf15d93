-- A user's session. Topics: set {key, value}; get key -> "value"; upgrade entry id. It ends when it has been idle for too long.
local time = require("time")

local function main(user, idle, state)
  local inbox, events = process.inbox(), process.events()
  state = state or {}
  idle = idle or "15m"
  while true do
    local timeout = time.timer(idle)
    local got = channel.select { inbox:case_receive(), events:case_receive(), timeout:channel():case_receive() }
    timeout:stop()
    if got.channel == timeout:channel() then return { user = user, ended = "idle", state = state } end
    if got.channel == events then
      if got.value.kind == process.event.CANCEL then return { user = user, ended = got.value.reason, state = state } end
    else
      local message = got.value
      local topic = message:topic()
      local asked = message:payload() and message:payload():data()
      if topic == "set" then
        state[asked.key] = asked.value
      elseif topic == "get" then
        process.send(message:from(), "value", { key = asked, value = state[asked], version = 1 })
      elseif topic == "upgrade" then
        process.upgrade(asked, user, idle, state) -- goes on there: same address, same name, what is unread is kept
      end
    end
  end
end
return main
