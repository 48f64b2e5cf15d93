-- names: the registry of names, of the whole deployment: process.registry.
-- Returns { register, lookup, unregister }.
local rt = ...
local raw = rt.raw
local rawtype, find, select = raw.type, raw.string.find, raw.select

local function problem_of(kind, message) return rt.fail(kind, message, false) end

local SCOPES <const> = { [1] = "eventual", [2] = "global", [3] = "global" }

-- scope(value) -> true | nil, error: names are of the whole deployment here, whatever is asked for beyond LOCAL is not
local function check_scope(value)
  if value == nil or value == 0 then return true end
  if rawtype(value) ~= "number" then return problem_of("Invalid", "scope must be a number") end
  if SCOPES[value] then return problem_of("Internal", SCOPES[value] .. " registry not available") end
  return problem_of("Invalid", "unknown scope: " .. rt.tostring(value))
end

local names = {}

function names.register(name, pid, scope)
  if rawtype(name) ~= "string" then rt.typeerror(1, "register", "string", name) end
  if name == "" then return problem_of("Invalid", "name cannot be empty") end
  if pid ~= nil and rawtype(pid) ~= "string" then return problem_of("Invalid", "pid must be a string") end
  if pid ~= nil and not find(pid, "^{[^{}|]*|.+}$") then return problem_of("Invalid", "invalid pid") end
  local ok, problem = check_scope(scope)
  if not ok then return nil, problem end
  return rt.perform("process.register", name, pid or rt.meta.pid)
end

function names.lookup(name)
  if rawtype(name) ~= "string" then rt.typeerror(1, "lookup", "string", name) end
  return rt.perform("process.lookup", name)
end

function names.unregister(name, scope)
  if rawtype(name) ~= "string" then rt.typeerror(1, "unregister", "string", name) end
  local ok, problem = check_scope(scope)
  if not ok then return false, problem end
  local found, failure = rt.perform("process.unregister", name)
  if failure then return false, failure end
  return found
end

return names
