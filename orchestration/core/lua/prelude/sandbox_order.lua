-- sandbox_order: the order of keys and the names of objects, the same in every process.
-- Keys come as: 1..n, other numbers, strings, booleans, then objects in order of their first use as a key. That first use
-- is seen by `rt.key`, which source.py writes around the keys of assignments, and by rawset.
local rt = ...
local raw = rt.raw
local ctype, cnext, crawget, crawset, cerror, getmetatable = raw.type, raw.next, raw.rawget, raw.rawset, raw.error, raw.getmetatable
local csort, ctostring, format, charge = raw.table.sort, raw.tostring, raw.string.format, rt.charge
local opaque, frozen, math_type = rt.opaque, rt.frozen, raw.math.type

-- 1. Serial numbers ---------------------------------------------------------------------------------------------------

local serials, last_serial = raw.setmetatable({}, { __mode = "k" }), 0

local function serial(object)
  local n = serials[object]
  if not n then
    n = last_serial + 1
    last_serial, serials[object] = n, n
  end
  return n
end
rt.serial = serial

-- For code that must leave no trace (queries): forget the numbers given since `mark`.
function rt.serial_mark() return last_serial end
function rt.serial_reset(mark)
  for object, n in cnext, serials do
    if n > mark then serials[object] = nil end
  end
  last_serial = mark
end

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

-- 2. Keys in order ----------------------------------------------------------------------------------------------------

local function by_serial(a, b) return serials[a] < serials[b] end

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

-- All keys of a raw table, in order; `extra`, if given, is treated as if it were one of them.
local function keys_of(t, extra)
  local seen_extra = extra == nil
  local strings, count = {}, 0
  local numbers, booleans, objects
  local function add(k, kind)
    if kind == "number" then
      numbers = numbers or {}
      numbers[#numbers + 1] = k
    elseif kind == "boolean" then
      booleans = booleans or {}
      booleans[#booleans + 1] = k
    else
      objects = objects or {}
      objects[#objects + 1] = k
    end
  end
  for k in cnext, t do
    local kind = ctype(k)
    if kind == "string" then
      count = count + 1
      strings[count] = k
    else
      add(k, kind)
    end
    if k == extra then seen_extra = true end
  end
  if not seen_extra then
    local kind = ctype(extra)
    if kind == "string" then strings[count + 1] = extra else add(extra, kind) end
  end
  sorted(strings)
  if not (numbers or booleans or objects) then return strings end
  local keys, n = {}, 0
  if numbers then
    while crawget(t, n + 1) ~= nil or n + 1 == extra do
      n = n + 1
      keys[n] = n
    end
    if n < #numbers then
      sorted(numbers)
      local border = n
      for i = 1, #numbers do
        local v = numbers[i]
        if v < 1 or v > border or math_type(v) == "float" then
          n = n + 1
          keys[n] = v
        end
      end
    end
  end
  raw.table.move(strings, 1, #strings, n + 1, keys)
  n = n + #strings
  if booleans then
    if #booleans == 2 then booleans = { false, true } end
    for i = 1, #booleans do keys[n + i] = booleans[i] end
    n = n + #booleans
  end
  if objects then
    local unknown = 0
    for i = 1, #objects do
      if not serials[objects[i]] then unknown = unknown + 1 end
    end
    if unknown > 1 then cerror("cannot order the keys of this table: it has several objects as keys that were never stored by an assignment", 3) end
    if unknown == 1 then
      for i = 1, #objects do serial(objects[i]) end
    end
    sorted(objects, by_serial)
    raw.table.move(objects, 1, #objects, n + 1, keys)
  end
  return keys
end
rt.keys_of = keys_of

-- 3. pairs and next ---------------------------------------------------------------------------------------------------

local function table_error(fname, value, level)
  rt.typeerror(1, fname, "table", value, (level or 0) + 1)
end

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
      t = frozen[t]
    else
      local meta = crawget(mt, "__pairs")
      if meta then
        local f, s, c = meta(t)
        return f, s, c
      end
    end
  end
  if ctype(t) ~= "table" then table_error("for iterator", t) end
  local first = cnext(t)
  if first == 1 then
    local n = 0
    for k in cnext, t do
      n = n + 1
      if k ~= n then return walk_keys(t, keys_of(t)) end
    end
    return walk_list(t, n)
  elseif first == nil then
    return nothing, t, nil
  end
  local strings, n = {}, 0
  for k in cnext, t do
    if ctype(k) ~= "string" then return walk_keys(t, keys_of(t)) end
    n = n + 1
    strings[n] = k
  end
  return walk_keys(t, sorted(strings))
end

-- next(t, k) goes on in the list of keys made by an earlier call on the same table.
local walks = raw.setmetatable({}, { __mode = "k" })

local function smallest(t)
  if crawget(t, 1) ~= nil then return 1 end
  local best, kind
  for k in cnext, t do
    local this = ctype(k)
    if best == nil then best, kind = k, this
    elseif this == "number" then
      if kind ~= "number" or k < best then best, kind = k, this end
    elseif this == "string" then
      if kind ~= "number" and (kind ~= "string" or k < best) then best, kind = k, this end
    elseif kind ~= "number" and kind ~= "string" then
      return keys_of(t)[1]
    end
  end
  return best
end

function rt.next(t, k)
  if ctype(t) ~= "table" then table_error("next", t) end
  local mt = getmetatable(t)
  if mt then
    if opaque[mt] then table_error("next", t) end
    t = frozen[t] or t
  end
  if k == nil then
    local first, v = cnext(t)
    if first == nil then return nil end
    if walks[t] then walks[t] = nil end
    if cnext(t, first) == nil then return first, v end
    k = smallest(t)
    return k, crawget(t, k)
  end
  local walk = walks[t]
  if not walk or (walk.keys[walk.at] ~= k and not walk.index) then
    if not walk then walk = { keys = keys_of(t, k), at = 0 } end
    walk.index = {}
    for i, v in raw.ipairs(walk.keys) do walk.index[v] = i end
    walks[t] = walk
  end
  if walk.keys[walk.at] ~= k then
    local at = walk.index[k]
    if not at then
      walk = { keys = keys_of(t, k), index = {}, at = 0 }
      for i, v in raw.ipairs(walk.keys) do walk.index[v] = i end
      walks[t], at = walk, walk.index[k]
    end
    walk.at = at
  end
  while true do
    walk.at = walk.at + 1
    local following = walk.keys[walk.at]
    if following == nil then
      walks[t] = nil
      return nil
    end
    local v = crawget(t, following)
    if v ~= nil then return following, v end
  end
end

-- 4. Text of any value ------------------------------------------------------------------------------------------------

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

-- 5. Raw access -------------------------------------------------------------------------------------------------------

function rt.rawget(t, k)
  if ctype(t) ~= "table" or rt.is_opaque(t) then table_error("rawget", t) end
  return crawget(frozen[t] or t, k)
end

function rt.rawset(t, k, v)
  if ctype(t) ~= "table" or rt.is_opaque(t) then table_error("rawset", t) end
  if frozen[t] then cerror("attempt to write to a read-only table", 2) end
  return crawset(t, key(k), v)
end
return true
