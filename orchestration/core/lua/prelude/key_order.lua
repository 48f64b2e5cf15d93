-- key_order: pairs, in an order that is the same in every process. Adds to rt: sorted(list, order); to the globals: pairs.
-- Keys come as: 1..n, other numbers, strings, booleans, then objects in order of their first use as a key. That first use
-- is seen by `rt.key`, which source.py writes around the keys of assignments, and by rawset.
local rt = ...
local raw = rt.raw
local ctype, cnext, crawget, getmetatable = raw.type, raw.next, raw.rawget, raw.getmetatable
local csort, charge, frozen = raw.table.sort, rt.charge, rt.frozen

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
rt.globals.pairs = rt.pairs
return true
