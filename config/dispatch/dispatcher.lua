-- Topics: order {id, ...}; finish. At most `most` workflows run at a time, the other orders wait.
-- The asker of each order gets "ended" {id, status, error}. After "finish" it returns how many ended well.
local function main(workflow_type, worker, most)
  local inbox, events = process.inbox(), process.events()
  local waiting, running, count, well, finishing = {}, {}, 0, 0, false

  local function start()
    while count < (most or 3) and waiting[1] do
      local order = table.remove(waiting, 1)
      local pid, err = process.with_options({ ["workflow.id"] = "dispatch-" .. order.what.id })
        :spawn_monitored(workflow_type, worker, order.what)
      if pid then
        running[pid], count = order, count + 1
      else
        process.send(order.from, "ended", { id = order.what.id, error = err:message() })
      end
    end
  end

  while not (finishing and count == 0 and not waiting[1]) do
    local got = channel.select { inbox:case_receive(), events:case_receive() }
    if got.channel == inbox then
      local message = got.value
      if message:topic() == "finish" then finishing = true end
      if message:topic() == "order" then
        waiting[#waiting + 1] = { what = message:payload():data(), from = message:from() }
      end
    elseif got.value.kind == process.event.EXIT then
      local order, result = running[got.value.from], got.value.result
      running[got.value.from], count = nil, count - 1
      if not result.error then well = well + 1 end
      process.send(order.from, "ended", {
        id = order.what.id,
        status = result.value and result.value.status,
        error = result.error and result.error:message(),
      })
    elseif got.value.kind == process.event.CANCEL then
      return well -- the workflows go on without it: they are durable, it is not
    end
    start()
  end
  return well
end
return main
