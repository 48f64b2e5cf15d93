-- A chat room. Topics: join name; say text; leave; who -> "members". Members get "said" {name, text}, "joined", "left".
-- It monitors its members: one whose process or worker is gone has left.
local function main(title)
  process.registry.register("room:" .. title)
  local inbox, events = process.inbox(), process.events()
  local names, order = {}, {}

  local function tell(topic, what)
    for _, pid in ipairs(order) do process.send(pid, topic, what) end
  end

  local function leave(pid)
    local name = names[pid]
    if not name then return end
    names[pid] = nil
    for i, other in ipairs(order) do
      if other == pid then table.remove(order, i) break end
    end
    tell("left", name)
  end

  while true do
    local got = channel.select { inbox:case_receive(), events:case_receive() }
    if got.channel == events then
      if got.value.kind == process.event.EXIT then
        leave(got.value.from)
      elseif got.value.kind == process.event.CANCEL then
        tell("closed", title)
        return #order
      end
    else
      local message = got.value
      local topic, from = message:topic(), message:from()
      if topic == "join" and not names[from] and process.monitor(from) then
        names[from] = message:payload():data()
        order[#order + 1] = from
        tell("joined", names[from])
      elseif topic == "say" and names[from] then
        tell("said", { name = names[from], text = message:payload():data() })
      elseif topic == "leave" then
        process.unmonitor(from)
        leave(from)
      elseif topic == "who" then
        local found = {}
        for i, pid in ipairs(order) do found[i] = names[pid] end
        process.send(from, "members", found)
      end
    end
  end
end
return main
