-- Question and answer in turn: each message waits for the one before.
local function echo(count)
  local inbox = process.inbox()
  for i = 1, count do
    local message = inbox:receive()
    process.send(message:from(), "answer", i)
  end
end

local function caller(to, count, report)
  local go, answers = process.listen("go"), process.listen("answer")
  go:receive()
  for i = 1, count do
    assert(process.send(to, "question", i))
    answers:receive()
  end
  process.send(report, "done")
end

-- turns(from, to, count) -> messages a second, questions and answers
local function turns(from, to, count)
  local time = require("time")
  local done = process.listen("done")
  local target = assert(process.spawn("bench:echo", to, count))
  local origin = assert(process.spawn("bench:caller", from, target, count, process.pid()))
  local begin = time.now()
  assert(process.send(origin, "go"))
  done:receive()
  return 2 * count / time.now():sub(begin):seconds()
end

return { echo = echo, caller = caller, turns = turns }
