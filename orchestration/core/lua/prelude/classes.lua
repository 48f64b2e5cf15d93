-- classes: makes classes of opaque objects. Adds to rt: class(name, methods, meta) -> constructor, class_of.
local rt = ...
local raw = rt.raw
local error, next, setmetatable, getmetatable = raw.error, raw.next, raw.setmetatable, raw.getmetatable
local STATE <const>, opaque = rt.state_key, rt.opaque

local function refuse(object) error("attempt to use a " .. getmetatable(object).__name .. " value as a table", 2) end
local function refuse_field(object, key)
  error("cannot set field '" .. rt.tostring(key) .. "' of a " .. getmetatable(object).__name .. " value: it is read-only", 2)
end

-- type() says "userdata", methods are all there is to see. `methods` is a table or a function (object, key) -> value.
-- `meta` may have tostring, eq, concat, add, sub, mul, div, unm, lt, le, call, len.
function rt.class(name, methods, meta)
  local mt = {
    __name = name, __metatable = false, __index = methods, __newindex = refuse_field, __len = refuse, __pairs = refuse,
  }
  for key, fn in next, meta or {} do mt["__" .. key] = fn end
  opaque[mt] = name
  return function(state) return setmetatable({ [STATE] = state }, mt) end
end

-- class_of(value) -> name of its class, nil for anything else
function rt.class_of(value)
  if raw.type(value) ~= "table" then return nil end
  local mt = raw.getmetatable(value)
  return mt and opaque[mt]
end
return true
