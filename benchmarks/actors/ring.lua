-- A token goes round: each member hands it to the next.
local function member(following)
  local tokens = process.listen("token")
  while true do
    local left = tokens:receive()
    process.send(following, "token", left)
    if left == 0 then return end
  end
end

-- ring(host, size, rounds) -> seconds for all rounds
local function ring(host, size, rounds)
  local time = require("time")
  local tokens = process.listen("token")
  local following = process.pid()
  for _ = 2, size do following = assert(process.spawn("bench:member", host, following)) end
  local begin = time.now()
  for round = 1, rounds do
    process.send(following, "token", rounds - round)
    tokens:receive()
  end
  return time.now():sub(begin):seconds()
end

return { member = member, ring = ring }
