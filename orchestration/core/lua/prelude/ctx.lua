-- ctx: the context values that a call came with; read only.
-- Returns { get, all }.
local rt = ...
local rawtype, next = rt.raw.type, rt.raw.next

local function copy(value)
  if rawtype(value) ~= "table" then return value end
  return (rt.unpack(rt.pack(value)))
end

return rt.readonly("ctx", {
  get = function(key)
    if rawtype(key) ~= "string" then rt.typeerror(1, "get", "string", key) end
    if key == "" then return rt.fail("Invalid", "key required") end
    local value = rt.context[key]
    if value == nil then return rt.fail("NotFound", "no context value '" .. key .. "'") end
    return copy(value), nil
  end,
  all = function()
    local values = {}
    for key, value in next, rt.context do values[key] = copy(value) end
    return values
  end,
})
