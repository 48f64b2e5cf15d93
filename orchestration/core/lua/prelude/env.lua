-- env: the variables that entries declare, by public name or entry id. For functions and processes.
--   get(key) -> string; set(key, value) -> true; get_all() -> table
-- The work is done in Python (modules/env.py).
local rt = ...
local rawtype = rt.raw.type
rt.require_prelude("operation")

-- checked(key, fname) -> true | nil, error
local function checked(key, fname)
  if rawtype(key) ~= "string" then rt.typeerror(1, fname, "string", key, 1) end
  if key == "" then return rt.fail("Invalid", "the name of a variable is needed") end
  return true
end

local function get(key)
  local ok, problem = checked(key, "get")
  if not ok then return nil, problem end
  return rt.perform_now("env.get", key)
end

local function set(key, value)
  local ok, problem = checked(key, "set")
  if not ok then return nil, problem end
  if rawtype(value) ~= "string" then rt.typeerror(2, "set", "string", value) end
  return rt.perform("env.set", key, value)
end

return rt.readonly("env", {
  get = get,
  set = set,
  get_all = function() return rt.perform_now("env.all") end,
})
