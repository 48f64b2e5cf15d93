-- registry: reads the definitions. For functions and processes.
--   get(id) -> { id, kind, meta, data }; find(criteria?) -> list of them, in the order of their ids
-- The work is done in Python (modules/registry.py).
local rt = ...
local rawtype, next = rt.raw.type, rt.raw.next
rt.require_prelude("operation")

return rt.readonly("registry", {
  get = function(id)
    if rawtype(id) ~= "string" then rt.typeerror(1, "get", "string", id) end
    if id == "" then return rt.fail("Invalid", "entry ID required") end
    return rt.perform_now("registry.get", id)
  end,
  find = function(criteria)
    if criteria == nil then criteria = {} end
    if rawtype(criteria) ~= "table" or rt.class_of(criteria) then rt.typeerror(1, "find", "table", criteria) end
    for key in next, criteria do
      if rawtype(key) ~= "string" then rt.argerror(1, "find", "criteria have string keys") end
    end
    return rt.perform_now("registry.find", criteria)
  end,
})
