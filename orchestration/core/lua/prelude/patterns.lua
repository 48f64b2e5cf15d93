-- patterns: Lua patterns matched by Lua code, so that each step is counted. Same results and errors as the C library
-- (a port of lstrlib.c, Lua 5.4, MIT licence); used where the C function could take long.
local rt = ...
local raw = rt.raw
local ctype, cerror, ctostring = raw.type, raw.error, raw.tostring
local byte, char, sub, find = raw.string.byte, raw.string.char, raw.string.sub, raw.string.find
local concat, unpack = raw.table.concat, raw.table.unpack
local charge = rt.charge

local MAX_DEPTH <const>, MAX_CAPTURES <const> = 200, 32
local UNFINISHED <const>, POSITION <const> = -1, -2

-- 1. Compilation: one node for each item; what is malformed becomes a node that raises when it is reached, as in C. ------

local sets, set_count = {}, 0

-- The bytes that a single-character class matches, as C sees them.
local function set_of(class)
  local set = sets[class]
  if set then return set end
  set = {}
  for b = 0, 255 do
    if find(char(b), "^" .. class) then set[b] = true end
  end
  charge(1000)
  set_count = set_count + 1
  if set_count > 100 then sets, set_count = {}, 1 end
  sets[class] = set
  return set
end

-- Index after the class that starts at `i`, or nil and what is wrong.
local function class_end(p, i)
  local c = byte(p, i)
  i = i + 1
  if c == 37 then -- %
    if i > #p then return nil, "malformed pattern (ends with '%')" end
    return i + 1
  elseif c == 91 then -- [
    if byte(p, i) == 94 then i = i + 1 end
    repeat
      if i > #p then return nil, "malformed pattern (missing ']')" end
      local d = byte(p, i)
      i = i + 1
      if d == 37 then i = i + 1 end
    until byte(p, i) == 93 and i <= #p
    return i + 1
  end
  return i
end

local function single(p, i, stop)
  local c = byte(p, i)
  if c == 46 then return { op = "any" } end
  if c ~= 37 and c ~= 91 then return { op = "set", set = { [c] = true } } end
  return { op = "set", set = set_of(sub(p, i, stop - 1)) }
end

local function compile(p, i)
  local nodes, n = {}, 0
  while i <= #p do
    local c, d = byte(p, i, i + 1)
    local node
    if c == 40 then -- (
      if d == 41 then node, i = { op = "open", kind = POSITION }, i + 2 else node, i = { op = "open", kind = UNFINISHED }, i + 1 end
    elseif c == 41 then
      node, i = { op = "close" }, i + 1
    elseif c == 36 and i == #p then
      node, i = { op = "end" }, i + 1
    elseif c == 37 and d == 98 then -- %b
      if i + 3 > #p then
        node, i = { op = "error", text = "malformed pattern (missing arguments to '%b')" }, #p + 1
      else
        node, i = { op = "balance", from = byte(p, i + 2), to = byte(p, i + 3) }, i + 4
      end
    elseif c == 37 and d == 102 then -- %f
      if byte(p, i + 2) ~= 91 then
        node, i = { op = "error", text = "missing '[' after '%f' in pattern" }, #p + 1
      else
        local stop, problem = class_end(p, i + 2)
        if stop then
          node, i = { op = "frontier", set = set_of(sub(p, i + 2, stop - 1)) }, stop
        else
          node, i = { op = "error", text = problem }, #p + 1
        end
      end
    elseif c == 37 and d and d >= 48 and d <= 57 then
      node, i = { op = "back", index = d - 48 }, i + 2
    else
      local stop, problem = class_end(p, i)
      if stop then
        node = single(p, i, stop)
        local suffix = byte(p, stop)
        if suffix == 42 or suffix == 43 or suffix == 45 or suffix == 63 then
          node.any, node.op, stop = node.op == "any", suffix, stop + 1
        end
        i = stop
      else
        node, i = { op = "error", text = problem }, #p + 1
      end
    end
    n = n + 1
    nodes[n] = node
  end
  return nodes
end

-- 2. Matching -----------------------------------------------------------------------------------------------------------

-- A matcher for subject and pattern: match(i) -> index after the match or nil; captures by the other functions.
local function matcher(s, p, start)
  local nodes = compile(p, start)
  local last = #nodes
  local size = #s
  local level, depth = 0, MAX_DEPTH
  local from, len = {}, {}
  local match

  local function one(node, i)
    return i <= size and (node.any or node.set[byte(s, i)])
  end

  local function capture_index(index)
    local l = index
    if l < 1 or l > level or len[l] == UNFINISHED then cerror("invalid capture index %" .. index, 0) end
    return l
  end

  local function balance(node, i)
    if byte(s, i) ~= node.from then return nil end
    local open, close, count = node.from, node.to, 1
    for k = i + 1, size do
      local c = byte(s, k)
      if c == close then
        count = count - 1
        if count == 0 then return k + 1 end
      elseif c == open then
        count = count + 1
      end
    end
  end

  -- An item with a suffix: index after the match, or nil; the second result says that the item is to be passed over.
  local function repeated(op, node, i, n)
    if not one(node, i) then return nil, op ~= 43 end
    if op == 63 then -- ?
      local e = match(i + 1, n + 1)
      return e, not e
    elseif op == 45 then -- -
      repeat
        local e = match(i, n + 1)
        if e then return e end
        local more = one(node, i)
        i = i + 1
      until not more
      return nil
    end
    local stop = i
    if op == 43 then i = i + 1 end -- +
    if node.any then
      stop = size + 1
    else
      local set = node.set
      while stop <= size and set[byte(s, stop)] do stop = stop + 1 end
    end
    for k = stop, i, -1 do
      local e = match(k, n + 1)
      if e then return e end
    end
  end

  local function captured(i, n, node)
    local e
    if node.op == "open" then
      if level >= MAX_CAPTURES then cerror("too many captures", 0) end
      level = level + 1
      from[level], len[level] = i, node.kind
      e = match(i, n + 1)
      if not e then level = level - 1 end
    else
      local l
      for k = level, 1, -1 do
        if len[k] == UNFINISHED then l = k break end
      end
      if not l then cerror("invalid pattern capture", 0) end
      len[l] = i - from[l]
      e = match(i, n + 1)
      if not e then len[l] = UNFINISHED end
    end
    return e
  end

  match = function(i, n)
    if depth == 0 then cerror("pattern too complex", 0) end
    depth = depth - 1
    while n <= last do
      local node = nodes[n]
      local op = node.op
      if op == "set" then
        if i > size or not node.set[byte(s, i)] then i = nil end
        i = i and i + 1
      elseif op == "any" then
        if i > size then i = nil end
        i = i and i + 1
      elseif op == "open" or op == "close" then
        i = captured(i, n, node)
        break
      elseif op == "end" then
        if i ~= size + 1 then i = nil end
      elseif op == "balance" then
        i = balance(node, i)
      elseif op == "frontier" then
        local before, here = i == 1 and 0 or byte(s, i - 1), i <= size and byte(s, i) or 0
        if node.set[before] or not node.set[here] then i = nil end
      elseif op == "back" then
        local l = capture_index(node.index)
        local n_bytes = len[l]
        if n_bytes ~= POSITION and size - i + 1 >= n_bytes then
          charge(n_bytes >> 3)
          if sub(s, from[l], from[l] + n_bytes - 1) == sub(s, i, i + n_bytes - 1) then i = i + n_bytes else i = nil end
        else
          i = nil
        end
      elseif op == "error" then
        cerror(node.text, 0)
      else
        local e, skipped = repeated(op, node, i, n)
        if not skipped then
          i = e
          break
        end
      end
      if not i then break end
      n = n + 1
    end
    depth = depth + 1
    return i
  end

  local self = {}

  function self.match(i)
    level, depth = 0, MAX_DEPTH
    return match(i, 1)
  end

  -- Capture number l of a match from i to e (exclusive).
  function self.capture(l, i, e)
    if l > level then
      if l ~= 1 then cerror("invalid capture index %" .. l, 0) end
      return sub(s, i, e - 1)
    end
    local n = len[l]
    if n == UNFINISHED then cerror("unfinished capture", 0) end
    if n == POSITION then return from[l] end
    return sub(s, from[l], from[l] + n - 1)
  end

  function self.captures(i, e, whole)
    local count = level == 0 and whole and 1 or level
    if count == 1 then return self.capture(1, i, e) end
    local list = {}
    for l = 1, count do list[l] = self.capture(l, i, e) end
    return unpack(list, 1, count)
  end

  return self
end

-- 3. The four functions: arguments have been checked -----------------------------------------------------------------------

local patterns = {}

-- The nodes of a pattern, without its anchor.
function patterns.compile(p) return compile(p, byte(p, 1) == 94 and 2 or 1) end

function patterns.find(s, p, init, only_captures)
  local anchored = byte(p, 1) == 94
  local m = matcher(s, p, anchored and 2 or 1)
  for i = init, anchored and init or #s + 1 do
    local e = m.match(i)
    if e then
      if only_captures then return m.captures(i, e, true) end
      return i, e - 1, m.captures(i, e, false)
    end
  end
  return nil
end

function patterns.gmatch(s, p, init)
  local m = matcher(s, p, 1)
  local at, last_end = init, nil
  return function()
    for i = at, #s + 1 do
      local e = m.match(i)
      if e and e ~= last_end then
        at, last_end = e, e
        return m.captures(i, e, true)
      end
    end
    at = #s + 2
    return nil
  end
end

local function expand(m, repl, i, e, s)
  local parts, at = {}, 1
  while true do
    local k = find(repl, "%", at, true)
    if not k then break end
    parts[#parts + 1] = sub(repl, at, k - 1)
    local c = byte(repl, k + 1)
    if c == 37 then parts[#parts + 1] = "%"
    elseif c == 48 then parts[#parts + 1] = sub(s, i, e - 1)
    elseif c and c >= 49 and c <= 57 then parts[#parts + 1] = m.capture(c - 48, i, e)
    else cerror("invalid use of '%' in replacement string", 0) end
    at = k + 2
  end
  parts[#parts + 1] = sub(repl, at)
  return concat(parts)
end

function patterns.gsub(s, p, repl, max)
  local anchored = byte(p, 1) == 94
  local m = matcher(s, p, anchored and 2 or 1)
  local kind = ctype(repl)
  local parts, count, i, last_end = {}, 0, 1, nil
  local kept = 1 -- first byte not yet copied
  while count < max do
    local e = m.match(i)
    if e and e ~= last_end then
      count = count + 1
      local v
      if kind == "function" then v = repl(m.captures(i, e, true))
      elseif kind == "table" then v = repl[m.capture(1, i, e)]
      else v = expand(m, repl, i, e, s) end
      if v then
        local got = ctype(v)
        if got ~= "string" and got ~= "number" then cerror("invalid replacement value (a " .. got .. ")", 0) end
        parts[#parts + 1] = sub(s, kept, i - 1)
        parts[#parts + 1] = got == "number" and ctostring(v) or v
        kept = e
      end
      i, last_end = e, e
    elseif i <= #s then
      i = i + 1
    else
      break
    end
    if anchored then break end
  end
  parts[#parts + 1] = sub(s, kept)
  local text = concat(parts)
  charge(#text >> 3)
  return text, count
end

-- Plain search in linear time (Knuth, Morris, Pratt).
function patterns.find_plain(s, p, init)
  local m, fail, k = #p, { [0] = 0, 0 }, 0
  for i = 2, m do
    local c = byte(p, i)
    while k > 0 and byte(p, k + 1) ~= c do k = fail[k] end
    if byte(p, k + 1) == c then k = k + 1 end
    fail[i] = k
  end
  k = 0
  for i = init, #s do
    local c = byte(s, i)
    while k > 0 and byte(p, k + 1) ~= c do k = fail[k] end
    if byte(p, k + 1) == c then k = k + 1 end
    if k == m then return i - m + 1, i end
  end
  return nil
end

return patterns
