-- The next version of session.lua: it answers with how often it was asked, too. It takes over the state of a running one.
local time = require("time")

local function main(user, idle, state)
  local inbox, events = process.inbox(), process.events()
  state, idle = state or {}, idle or "15m"
  local asked_times = 0
  while true do
    local timeout = time.timer(idle)
    local got = channel.select { inbox:case_receive(), events:case_receive(), timeout:channel():case_receive() }
    timeout:stop()
    if got.channel == timeout:channel() then return { user = user, ended = "idle", state = state } end
    if got.channel == events then
      if got.value.kind == process.event.CANCEL then return { user = user, ended = got.value.reason, state = state } end
    else
      local message = got.value
      local asked = message:payload() and message:payload():data()
      if message:topic() == "set" then
        state[asked.key] = asked.value
      elseif message:topic() == "get" then
        asked_times = asked_times + 1
        process.send(message:from(), "value", { key = asked, value = state[asked], version = 2, asked = asked_times })
      end
    end
  end
end
return main
