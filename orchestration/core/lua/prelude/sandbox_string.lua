-- sandbox_string: the string library. Takes error objects where a string is expected; everything costs by its size.
local rt = ...
local raw = rt.raw
local ctype, cerror, cpcall, cselect, ctostring = raw.type, raw.error, raw.pcall, raw.select, raw.tostring
local charge, doubt, is_opaque, tostring, typeerror = rt.charge, rt.doubt, rt.is_opaque, rt.tostring, rt.typeerror
local c = raw.string
local crep, csub, cformat, cbyte, cchar = c.rep, c.sub, c.format, c.byte, c.char
local cfind, cmatch, cgmatch, cgsub = c.find, c.match, c.gmatch, c.gsub
local math_type = raw.math.type

local lib = {}
rt.libs.string = lib

-- A string argument: strings and numbers as they are, error objects (any opaque object) by their text.
local function text(v, n, fname)
  local kind = ctype(v)
  if kind == "string" then return v end
  if kind == "number" then return ctostring(v) end
  if is_opaque(v) then return tostring(v) end
  typeerror(n, fname, "string", v, 1)
end
rt.text_argument = text

-- Raises what a C function said, as if it had been called by the function that returns `checked(...)`.
local function checked(fname, ok, ...)
  if ok then return ... end
  local err = ...
  rt.rethrow(err)
  if ctype(err) ~= "string" then cerror(err, 0) end
  cerror(cgsub(err, "^bad argument #(%d+) to '[^']*'", "bad argument #%1 to '" .. fname .. "'"), 2)
end
rt.checked = checked

function lib.len(s)
  if ctype(s) ~= "string" then s = text(s, 1, "len") end
  return #s
end

function lib.sub(s, i, j)
  if ctype(s) ~= "string" then s = text(s, 1, "sub") end
  if math_type(i) ~= "integer" or (j ~= nil and math_type(j) ~= "integer") then
    return checked("sub", cpcall(csub, s, i, j or -1))
  end
  return csub(s, i, j or -1)
end

for _, name in raw.ipairs { "upper", "lower", "reverse" } do
  local fn = c[name]
  lib[name] = function(s)
    if ctype(s) ~= "string" then s = text(s, 1, name) end
    if #s > 256 then charge(#s >> 3) end
    return fn(s)
  end
end

function lib.byte(s, i, j)
  if ctype(s) ~= "string" then s = text(s, 1, "byte") end
  if j == nil and (i == nil or math_type(i) == "integer") then return cbyte(s, i or 1) end
  if j ~= nil then charge(16) end
  return checked("byte", cpcall(cbyte, s, i or 1, j or i or 1))
end

function lib.char(...) return checked("char", cpcall(cchar, ...)) end

function lib.rep(s, n, sep)
  if ctype(s) ~= "string" then s = text(s, 1, "rep") end
  if sep ~= nil and ctype(sep) ~= "string" then sep = text(sep, 3, "rep") end
  if math_type(n) ~= "integer" then
    local whole = raw.math.tointeger(n) or raw.math.tointeger(raw.tonumber(n) or 0.5)
    if not whole then return checked("rep", cpcall(crep, s, n, sep)) end
    n = whole
  end
  local unit = #s + (sep and #sep or 0)
  if n <= 0 or unit == 0 then return "" end
  charge(unit * (n + 0.0) / 8)
  return checked("rep", cpcall(crep, s, n, sep or ""))
end

-- Objects are turned into text here, so that the C function never sees one (it would show its address).
local function printable(fmt, n, ...)
  local args = { ... }
  local at = 0
  for flags, letter in cgmatch(fmt, "%%([^%a%%]*)([%a%%])") do
    if letter ~= "%" then
      at = at + 1
      local v = args[at]
      local kind = ctype(v)
      if letter == "s" then
        if kind == "table" or kind == "function" or kind == "thread" or kind == "userdata" then args[at] = tostring(v) end
      elseif letter == "p" then
        if kind == "table" or kind == "function" or kind == "thread" or kind == "userdata" then
          args[at] = cformat("0x%08x", rt.serial(v))
        else
          args[at] = "(null)"
        end
      elseif is_opaque(v) then
        args[at] = tostring(v)
      end
    end
  end
  return raw.table.unpack(args, 1, n)
end

local scalar = { string = true, number = true, boolean = true, ["nil"] = true }

function lib.format(fmt, ...)
  if ctype(fmt) ~= "string" then fmt = text(fmt, 1, "format") end
  charge(16 + (#fmt >> 1))
  local n = cselect("#", ...)
  local addresses = cfind(fmt, "%%[^%a%%]*p")
  for i = 1, n do
    if addresses or not scalar[ctype((cselect(i, ...)))] then
      local plain = cgsub(fmt, "%%([^%a%%]*)p", "%%%1s")
      return checked("format", cpcall(cformat, plain, printable(fmt, n, ...)))
    end
  end
  return checked("format", cpcall(cformat, fmt, ...))
end

for _, name in raw.ipairs { "pack", "packsize", "unpack" } do
  local fn = c[name]
  lib[name] = function(fmt, ...)
    if ctype(fmt) ~= "string" then fmt = text(fmt, 1, name) end
    charge(16 + #fmt)
    return checked(name, cpcall(fn, fmt, ...))
  end
end

-- Patterns: in C while the worst case is small, else in patterns.lua.

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
    typeerror(3, fname, "number", init, 1)
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
    else typeerror(3, "gsub", "string/function/table", repl) end
  end
  local max = size + 1
  if n ~= nil then
    max = raw.math.tointeger(n) or raw.math.tointeger(raw.tonumber(n))
    if not max then
      if ctype(n) == "number" then rt.argerror(4, "gsub", "number has no integer representation") end
      typeerror(4, "gsub", "number", n)
    end
  end
  if size > 256 then charge(size >> 3) end
  local fn = is_safe(p, size) and cgsub or rt.require_prelude("patterns").gsub
  if kind ~= "string" then return substituted(guarded(fn, s, p, repl, max)) end
  if fn == cgsub and not cfind(repl, "%", 1, true) then return cgsub(s, p, repl, max) end
  return substituted(cpcall(fn, s, p, repl, max))
end

raw.string_meta.__index = lib
raw.string_meta.__metatable = false
return true
