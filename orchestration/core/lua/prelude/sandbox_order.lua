-- sandbox_order: the order of keys and the names of objects, the same in every process.
-- Keys come as: 1..n, other numbers, strings, booleans, then objects in order of their first use as a key. That first use
-- is seen by `rt.key`, which source.py writes around the keys of assignments, and by rawset.
local rt = ...
local raw = rt.raw
local ctype, cnext, crawget, cerror, getmetatable = raw.type, raw.next, raw.rawget, raw.error, raw.getmetatable
local csort, ctostring, format, charge = raw.table.sort, raw.tostring, raw.string.format, rt.charge
local opaque, frozen = rt.opaque, rt.frozen

-- What few programs use is in key_lists.lua.
rt.on_demand(rt, "key_lists", "serial_mark serial_reset keys_of")

-- 1. Serial numbers ---------------------------------------------------------------------------------------------------

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

-- Sorts in C; the cost is charged first.
local function sorted(list, order)
  local n = #list
  if n > 1 then
    local cost, m = n << 2, n
    while m > 3 do m, cost = m >> 1, cost + (n << 2) end
    charge(cost)
    csort(list, order)
  end
  return list
end
rt.sorted = sorted

-- 2. pairs ----------------------------------------------------------------------------------------------------------

local function nothing() return nil end

-- The iterators go through what was there when the walk began, and pass over what has gone since.
local function walk_list(t, n)
  local i = 0
  return function()
    while i < n do
      i = i + 1
      local v = crawget(t, i)
      if v ~= nil then return i, v end
    end
  end, t, nil
end

local function walk_keys(t, keys)
  local i = 0
  return function()
    while true do
      i = i + 1
      local k = keys[i]
      if k == nil then return nil end
      local v = crawget(t, k)
      if v ~= nil then return k, v end
    end
  end, t, nil
end

function rt.pairs(t)
  local mt = getmetatable(t)
  if mt then
    if frozen[t] then
      t = rt.whole(t)
    else
      local meta = crawget(mt, "__pairs")
      if meta then
        local f, s, c = meta(t)
        return f, s, c
      end
    end
  end
  if ctype(t) ~= "table" then rt.typeerror(1, "for iterator", "table", t) end
  local first = cnext(t)
  if first == 1 then
    local n = 0
    for k in cnext, t do
      n = n + 1
      if k ~= n then return walk_keys(t, rt.keys_of(t)) end
    end
    return walk_list(t, n)
  elseif first == nil then
    return nothing, t, nil
  end
  local strings, n = {}, 0
  for k in cnext, t do
    if ctype(k) ~= "string" then return walk_keys(t, rt.keys_of(t)) end
    n = n + 1
    strings[n] = k
  end
  return walk_keys(t, sorted(strings))
end

-- 3. Text of any value ------------------------------------------------------------------------------------------------

-- As the global tostring, but objects are numbered where Lua shows addresses.
function rt.tostring(v)
  local kind = ctype(v)
  if kind == "string" then return v end
  if kind == "number" or kind == "boolean" or kind == "nil" then return ctostring(v) end
  local mt = getmetatable(v)
  if mt then
    local meta = crawget(mt, "__tostring")
    if meta ~= nil then
      local text
      if opaque[mt] then
        text = meta(v)
      else
        local _ <close> = rt.forbid_block("__tostring")
        text = meta(v)
      end
      if ctype(text) ~= "string" then
        if ctype(text) == "number" then return ctostring(text) end
        cerror("'__tostring' must return a string", 2)
      end
      return text
    end
    local name = crawget(mt, "__name")
    if ctype(name) == "string" then kind = name end
  end
  return format("%s: 0x%08x", kind, serial(v))
end
return true
