-- table_sort: table.sort, a merge sort. The C function chooses its pivots by the clock, which shows in the order of equal
-- elements.
local rt = ...
local raw = rt.raw
local ctype, cerror, getmetatable, crawget = raw.type, raw.error, raw.getmetatable, raw.rawget
local math_type, tointeger, csort, charge = raw.math.type, raw.math.tointeger, raw.table.sort, rt.charge

local function less(a, b)
  local left, right = ctype(a), ctype(b)
  if left == right and (left == "number" or left == "string") then return a < b end
  local mt = getmetatable(a)
  local meta = mt and left ~= "string" and crawget(mt, "__lt")
  if not meta then
    mt = getmetatable(b)
    meta = mt and right ~= "string" and crawget(mt, "__lt")
  end
  if meta then return meta(a, b) end
  local name_a, name_b = rt.type(a), rt.type(b)
  if name_a == name_b then cerror("attempt to compare two " .. name_a .. " values", 4) end
  cerror("attempt to compare " .. name_a .. " with " .. name_b, 4)
end

local function merge_sort(a, n, lt)
  local RUN <const> = 8
  for low = 1, n, RUN do
    local high = low + RUN - 1
    if high > n then high = n end
    for i = low + 1, high do
      local v = a[i]
      local j = i - 1
      while j >= low and lt(v, a[j]) do
        a[j + 1] = a[j]
        j = j - 1
      end
      a[j + 1] = v
    end
  end
  local b, width = {}, RUN
  while width < n do
    for low = 1, n, 2 * width do
      local mid, high = low + width, low + 2 * width
      if mid > n + 1 then mid = n + 1 end
      if high > n + 1 then high = n + 1 end
      local i, j = low, mid
      for k = low, high - 1 do
        if i < mid and (j >= high or not lt(a[j], a[i])) then
          b[k] = a[i]
          i = i + 1
        else
          b[k] = a[j]
          j = j + 1
        end
      end
    end
    a, b = b, a
    width = width * 2
  end
  return a
end

-- All strings, or all integers: equal elements cannot be told apart, so the C function may do it.
local function is_plain(a, n)
  local kind = ctype(a[1])
  if kind == "string" then
    for i = 2, n do
      if ctype(a[i]) ~= "string" then return false end
    end
    return true
  end
  for i = 1, n do
    if math_type(a[i]) ~= "integer" then return false end
  end
  return true
end

function rt.libs.table.sort(t, comp)
  if ctype(t) ~= "table" or rt.is_opaque(t) then rt.typeerror(1, "sort", "table", t) end
  if comp ~= nil and ctype(comp) ~= "function" then rt.typeerror(2, "sort", "function", comp) end
  local n = #t
  if math_type(n) ~= "integer" then
    n = tointeger(n)
    if not n then cerror("object length is not an integer", 2) end
  end
  if n < 2 then return end
  if n >= 2147483647 then rt.argerror(1, "sort", "array too big") end
  local a = {}
  for i = 1, n do a[i] = t[i] end
  if comp == nil and is_plain(a, n) then
    local steps, m = 0, n
    while m > 0 do m, steps = m >> 1, steps + n end
    charge(steps * 2)
    csort(a)
  else
    local _ <close> = rt.forbid_block("table.sort")
    a = merge_sort(a, n, comp or less)
  end
  for i = 1, n do t[i] = a[i] end
end
return true
