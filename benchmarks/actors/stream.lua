-- Messages one way: the source sends them all, the sink says when it has the last.
local function sink(count, report)
  local inbox = process.inbox()
  for _ = 1, count do inbox:receive() end
  process.send(report, "done")
end

local function source(to, count)
  local go = process.listen("go")
  go:receive()
  for i = 1, count do assert(process.send(to, "item", i)) end
end

-- stream(from, to, count, sources) -> messages a second from so many processes of one host to one process of another
local function stream(from, to, count, sources)
  local time = require("time")
  local done = process.listen("done")
  local target = assert(process.spawn("bench:sink", to, count, process.pid()))
  local origins = {}
  for i = 1, sources do origins[i] = assert(process.spawn("bench:source", from, target, count // sources)) end
  local begin = time.now()
  for i = 1, sources do assert(process.send(origins[i], "go")) end
  done:receive()
  return count / time.now():sub(begin):seconds()
end

return { sink = sink, source = source, stream = stream }
