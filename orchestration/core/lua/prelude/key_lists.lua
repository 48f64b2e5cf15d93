-- key_lists: what of sandbox_order.lua few programs use: keys that are not all strings or a list, `next`, raw access.
-- Adds to rt: keys_of(t, extra), serial_mark, serial_reset; to the globals: next, rawget, rawset.
local rt = ...
local raw = rt.raw
local ctype, cnext, crawget, crawset, cerror, getmetatable = raw.type, raw.next, raw.rawget, raw.rawset, raw.error, raw.getmetatable
local math_type, globals = raw.math.type, rt.globals
local opaque, frozen, serials, serial, sorted = rt.opaque, rt.frozen, rt.serials, rt.serial, rt.sorted

local function table_error(fname, value) rt.typeerror(1, fname, "table", value) end

local function by_serial(a, b) return serials[a] < serials[b] end

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

-- For code that must leave no trace (queries): forget the numbers given since `mark`.
function rt.serial_mark() return rt.serials_given.last end
function rt.serial_reset(mark)
  for object, n in cnext, serials do
    if n > mark then serials[object] = nil end
  end
  rt.serials_given.last = mark
end

-- next(t, k) goes on in the list of keys made by an earlier call on the same table.
local walks = raw.setmetatable({}, rt.weak)

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

function globals.next(t, k)
  if ctype(t) ~= "table" then table_error("next", t) end
  local mt = getmetatable(t)
  if mt then
    if opaque[mt] then table_error("next", t) end
    t = rt.whole(t) or rt.complete_env(t)
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

function globals.rawget(t, k)
  if ctype(t) ~= "table" or rt.is_opaque(t) then table_error("rawget", t) end
  return crawget(rt.whole(t) or rt.complete_env(t), k)
end

function globals.rawset(t, k, v)
  if ctype(t) ~= "table" or rt.is_opaque(t) then table_error("rawset", t) end
  if frozen[t] then cerror("attempt to write to a read-only table", 2) end
  return crawset(rt.complete_env(t), rt.key(k), v)
end
return true
