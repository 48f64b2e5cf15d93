-- string_patterns: find, match, gmatch and gsub of the string library: in C while the worst case is small, else in
-- patterns.lua.
local rt = ...
local raw = rt.raw
local ctype, cerror, cpcall = raw.type, raw.error, raw.pcall
local charge, doubt, is_opaque, text, checked = rt.charge, rt.doubt, rt.is_opaque, rt.text_argument, rt.checked
local c = raw.string
local cbyte, cfind, cmatch, cgmatch, cgsub = c.byte, c.find, c.match, c.gmatch, c.gsub
local math_type = raw.math.type
local lib = rt.libs.string

local WORST <const> = 20000000 -- steps that one call in C may take at the most

local limits, limit_count = {}, 0

-- Longest subject on which the pattern is safe in C; -1 if the pattern is not well-formed or C might refuse it.
local function classify(p)
  if not cfind(p, "[%^%$%*%+%?%.%(%)%[%%%-]") then
    limits[p] = #p <= 64 and raw.math.maxinteger or WORST // #p
    return limits[p]
  end
  local ok, nodes = cpcall(rt.require_prelude("patterns").compile, p)
  rt.rethrow(nodes)
  local limit = -1
  if ok then
    local power, factor, open = 0, 1, 0
    local last = #nodes
    while last > 0 and nodes[last].op == "close" do last = last - 1 end
    local simple = #nodes < 150
    for i = 1, #nodes do
      local op = nodes[i].op
      if op == "error" then simple = false
      elseif op == "open" then open = open + 1
      elseif op == "close" then open = open - 1
      elseif op == "back" then power, simple = power + 1, false
      elseif op == "balance" then power = power + 1
      elseif op == 63 then factor = factor * 2
      elseif (op == 42 or op == 43 or op == 45) and i < last then power = power + 1 end
      if open < 0 then simple = false end
    end
    if simple and open == 0 then
      if cbyte(p, 1) ~= 94 then power = power + 1 end
      limit = power == 0 and WORST or (WORST / factor) ^ (1 / power) // 1 - 1
    end
  end
  limit_count = limit_count + 1
  if limit_count > 500 then limits, limit_count = {}, 1 end
  limits[p] = limit
  return limit
end

-- True if C may match the pattern on so many bytes.
local function is_safe(p, size)
  local limit = limits[p] or classify(p)
  if size > limit then return false end
  if size > 256 or size << 4 > limit then doubt(size / limit) end
  return true
end

-- Start index as the C functions read it; nil if it lies behind the end.
local function start_of(init, size, fname)
  if init == nil then return 1 end
  local at = raw.math.tointeger(init) or raw.math.tointeger(raw.tonumber(init))
  if not at then
    if ctype(init) == "number" or raw.tonumber(init) then rt.argerror(3, fname, "number has no integer representation", 1) end
    rt.typeerror(3, fname, "number", init, 1)
  end
  if at < 0 then at = size + at + 1 end
  if at < 1 then at = 1 end
  return at
end

function lib.find(s, p, init, plain)
  if ctype(s) ~= "string" then s = text(s, 1, "find") end
  if ctype(p) ~= "string" then p = text(p, 2, "find") end
  local size = #s
  if init ~= nil and math_type(init) ~= "integer" then init = start_of(init, size, "find") end
  if size > 256 then charge(size >> 3) end
  if plain then
    if #p <= 64 or size * #p < WORST then return cfind(s, p, init, true) end
  elseif is_safe(p, size) then
    return cfind(s, p, init)
  end
  local at = start_of(init, size, "find")
  if at > size + 1 then return nil end
  local patterns = rt.require_prelude("patterns")
  if plain or not cfind(p, "[%^%$%*%+%?%.%(%[%%%-]") then return patterns.find_plain(s, p, at) end
  return checked("find", cpcall(patterns.find, s, p, at))
end

function lib.match(s, p, init)
  if ctype(s) ~= "string" then s = text(s, 1, "match") end
  if ctype(p) ~= "string" then p = text(p, 2, "match") end
  local size = #s
  if init ~= nil and math_type(init) ~= "integer" then init = start_of(init, size, "match") end
  if size > 256 then charge(size >> 3) end
  if is_safe(p, size) then return cmatch(s, p, init) end
  local at = start_of(init, size, "match")
  if at > size + 1 then return nil end
  return checked("match", cpcall(rt.require_prelude("patterns").find, s, p, at, true))
end

local function stepped(iterator)
  return function() return checked("for iterator", cpcall(iterator)) end
end

function lib.gmatch(s, p, init)
  if ctype(s) ~= "string" then s = text(s, 1, "gmatch") end
  if ctype(p) ~= "string" then p = text(p, 2, "gmatch") end
  local size = #s
  if init ~= nil and math_type(init) ~= "integer" then init = start_of(init, size, "gmatch") end
  if size > 256 then charge(size >> 3) end
  -- a leading ^ is a plain character here, which classify() knows nothing of
  if cbyte(p, 1) ~= 94 and is_safe(p, size) then return cgmatch(s, p, init) end
  local at = start_of(init, size, "gmatch")
  return stepped(rt.require_prelude("patterns").gmatch(s, p, at))
end

local replacements = { string = true, table = true, ["function"] = true }

-- An error of gsub itself gets the caller's position; one of the callback has its own.
local function substituted(ok, err, ...)
  if ok then return err, ... end
  if ctype(err) == "string" and not (cfind(err, "^invalid ") or cfind(err, "^malformed ") or cfind(err, "^bad argument")
    or cfind(err, "^pattern too complex") or cfind(err, "^too many captures") or cfind(err, "^missing '%[")
    or cfind(err, "^unfinished capture")) then
    rt.rethrow(err)
    cerror(err, 0)
  end
  return checked("gsub", ok, err)
end

local function guarded(fn, s, p, repl, n)
  local _ <close> = rt.forbid_block("string.gsub")
  local ok, text, count = cpcall(fn, s, p, repl, n)
  return ok, text, count
end

function lib.gsub(s, p, repl, n)
  if ctype(s) ~= "string" then s = text(s, 1, "gsub") end
  if ctype(p) ~= "string" then p = text(p, 2, "gsub") end
  local size = #s
  local kind = ctype(repl)
  if not replacements[kind] or kind == "table" and is_opaque(repl) then
    if kind == "number" or is_opaque(repl) then repl, kind = text(repl, 3, "gsub"), "string"
    else rt.typeerror(3, "gsub", "string/function/table", repl) end
  end
  local max = size + 1
  if n ~= nil then
    max = raw.math.tointeger(n) or raw.math.tointeger(raw.tonumber(n))
    if not max then
      if ctype(n) == "number" then rt.argerror(4, "gsub", "number has no integer representation") end
      rt.typeerror(4, "gsub", "number", n)
    end
  end
  if size > 256 then charge(size >> 3) end
  local fn = is_safe(p, size) and cgsub or rt.require_prelude("patterns").gsub
  if kind ~= "string" then return substituted(guarded(fn, s, p, repl, max)) end
  if fn == cgsub and not cfind(repl, "%", 1, true) then return cgsub(s, p, repl, max) end
  return substituted(cpcall(fn, s, p, repl, max))
end
return true
