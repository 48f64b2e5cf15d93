-- A member of a room who says one thing and listens until so many things have been said; returns them.
local function main(room, name, text, most)
  local said = process.listen("said")
  local ok, err = process.send(room, "join", name)
  if not ok then return nil, err end
  process.send(room, "say", text)
  local heard = {}
  for i = 1, most do
    local one = said:receive()
    heard[i] = one.name .. ": " .. one.text
  end
  process.send(room, "leave")
  return heard
end
return main
