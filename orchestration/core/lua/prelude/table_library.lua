-- table_library: the table library but for sort. Lengths can lie (__len), so nothing runs in C before it is paid for; whatever touches a
-- table with a metatable runs in Lua, where every step is counted.
local rt = ...
local raw = rt.raw
local ctype, cerror, cpcall, cselect = raw.type, raw.error, raw.pcall, raw.select
local getmetatable, crawget = raw.getmetatable, raw.rawget
local math_type, tointeger, maxinteger = raw.math.type, raw.math.tointeger, raw.math.maxinteger
local cconcat, cunpack, cmove = raw.table.concat, raw.table.unpack, raw.table.move
local charge, is_opaque, checked = rt.charge, rt.is_opaque, rt.checked
local ult = raw.math.ult

local lib = rt.libs.table

local function check(t, fname, n)
  if ctype(t) ~= "table" or is_opaque(t) then rt.typeerror(n or 1, fname, "table", t, 1) end
end

local function integer(v, n, fname)
  if math_type(v) == "integer" then return v end
  local number = ctype(v) == "string" and raw.tonumber(v) or v
  if ctype(number) ~= "number" then rt.typeerror(n, fname, "number", v, 1) end
  local whole = tointeger(number)
  if not whole then rt.argerror(n, fname, "number has no integer representation", 1) end
  return whole
end

local function length(t)
  local n = #t
  if math_type(n) ~= "integer" then
    n = tointeger(n)
    if not n then cerror("object length is not an integer", 3) end
  end
  return n
end

function lib.insert(t, ...)
  check(t, "insert")
  local n = cselect("#", ...)
  if n == 1 then
    t[length(t) + 1] = (...)
    return
  end
  if n ~= 2 then cerror("wrong number of arguments to 'insert'", 2) end
  local pos, v = ...
  pos = integer(pos, 2, "insert")
  local e = length(t) + 1
  if not ult(pos - 1, e) then rt.argerror(2, "insert", "position out of bounds") end
  if getmetatable(t) then
    for i = e, pos + 1, -1 do t[i] = t[i - 1] end
  elseif e > pos then
    charge((e - pos) >> 1)
    cmove(t, pos, e - 1, pos + 1)
  end
  t[pos] = v
end

function lib.remove(t, ...)
  check(t, "remove")
  local size = length(t)
  local pos = size
  if cselect("#", ...) > 0 then
    pos = integer((...), 2, "remove")
    if pos ~= size and not (pos - 1 == size or ult(pos - 1, size)) then rt.argerror(2, "remove", "position out of bounds") end
  end
  local v = t[pos]
  if pos < size then
    if getmetatable(t) then
      for i = pos, size - 1 do t[i] = t[i + 1] end
    else
      charge((size - pos) >> 1)
      cmove(t, pos + 1, size, pos)
    end
    pos = size
  end
  t[pos] = nil
  return v
end

function lib.move(a, f, e, t, b)
  check(a, "move")
  if b == nil then b = a else check(b, "move", 5) end
  f, e, t = integer(f, 2, "move"), integer(e, 3, "move"), integer(t, 4, "move")
  if e < f then return b end
  if not (f > 0 or e < maxinteger + f) then rt.argerror(3, "move", "too many elements to move") end
  if not (t <= maxinteger - (e - f + 1) + 1) then rt.argerror(4, "move", "destination wrap around") end
  if not getmetatable(a) and not getmetatable(b) then
    charge(e - f + 1)
    return cmove(a, f, e, t, b)
  end
  if t > e or t <= f or a ~= b then
    for i = 0, e - f do b[t + i] = a[f + i] end
  else
    for i = e - f, 0, -1 do b[t + i] = a[f + i] end
  end
  return b
end

local function concatenated(ok, text)
  if not ok then return checked("concat", ok, text) end
  charge(#text >> 3)
  return text
end

function lib.concat(t, sep, i, j)
  check(t, "concat")
  if sep == nil then sep = "" elseif ctype(sep) ~= "string" then sep = rt.text_argument(sep, 2, "concat") end
  i = i == nil and 1 or integer(i, 3, "concat")
  j = j == nil and length(t) or integer(j, 4, "concat")
  if j < i then return "" end
  if getmetatable(t) then
    local copy, n = {}, 0
    for k = i, j do
      local v = t[k]
      if v == nil then break end
      n = n + 1
      copy[n] = v
      if k == maxinteger then break end
    end
    if n < j - i + 1 then cerror("invalid value (nil) at index " .. i + n .. " in table for 'concat'", 2) end
    t, i, j = copy, 1, n
  end
  charge((j - i + 1.0) / 2)
  return concatenated(cpcall(cconcat, t, sep, i, j))
end

function lib.unpack(t, i, j)
  if is_opaque(t) then rt.typeerror(1, "unpack", "table", t) end
  if i == nil and j == nil then
    local n = t ~= nil and #t or 0
    if n ~= 0 and n == tointeger(n) and n < 200 then return cunpack(t, 1, n) end
  end
  i = i == nil and 1 or integer(i, 2, "unpack")
  j = j == nil and length(t) or integer(j, 3, "unpack")
  if i > j then return end
  charge((j - i + 1.0) / 2)
  return checked("unpack", cpcall(cunpack, rt.frozen[t] or t, i, j))
end

rt.globals.unpack = lib.unpack
return true
