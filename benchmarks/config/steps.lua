local funcs = require("funcs")

local function main(count)
  local value = 0
  for _ = 1, count do
    value = funcs.call("bench:noop", value)
  end
  return value
end

return { main = main }
