-- sandbox_order: the numbers of objects, the same in every process. They give an order to objects as keys (key_order.lua)
-- and a name (object_text.lua).
local rt = ...
local raw = rt.raw
local ctype, cerror = raw.type, raw.error

rt.on_demand(rt, "key_order", "sorted pairs")
rt.on_demand(rt, "key_lists", "serial_mark serial_reset keys_of")
rt.on_demand(rt, "object_text", "tostring")

local serials, given = raw.setmetatable({}, rt.weak), { last = 0 }
rt.serials, rt.serials_given = serials, given

-- serial(object) -> its number, given when it is first asked for
local function serial(object)
  local n = serials[object]
  if not n then
    n = given.last + 1
    given.last, serials[object] = n, n
  end
  return n
end
rt.serial = serial

local forbidden = { __mode = true, __gc = true }
local scalar = { number = true, boolean = true, ["nil"] = true }

-- Every key that user code stores by an expression passes here.
local function key(k)
  local kind = ctype(k)
  if kind == "number" then return k end
  if kind == "string" then
    if forbidden[k] then
      cerror("field '" .. k .. "' cannot be set: weak tables and finalizers show the garbage collector", 2)
    end
    return k
  end
  if not scalar[kind] and not serials[k] then serial(k) end
  return k
end
rt.key = key
return true
