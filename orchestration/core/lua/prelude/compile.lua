-- compile: makes a function of a unit's source, with the global environment it runs in. Called with (rt, unit).
local rt, unit = ...
local next = rt.raw.next
local ALWAYS <const> = { "errors", "channel", "process", "payload", "subscribe", "unsubscribe" }
local BUILT_IN <const> = { os = true, coroutine = true, table = true, string = true, math = true, utf8 = true, package = true }

local imports = unit.imports
local names = {}
for i = 1, #ALWAYS do names[i] = ALWAYS[i] end
for i = 1, #unit.modules do
  if not BUILT_IN[unit.modules[i]] then names[#names + 1] = unit.modules[i] end
end
for alias in next, imports do names[#names + 1] = alias end

local env = rt.new_env(names, function(name)
  local id = imports[name]
  if id then return rt.library(id) end
  return rt.require_prelude(name)
end)
local chunk, problem = rt.load_user(unit.source, "@" .. unit.name, env)
if not chunk then rt.raw.error(problem, 0) end
return chunk
