-- string_library: the string library but for its patterns, see string_patterns.lua. Takes error objects where a string is
-- expected; everything costs by its size. Adds to rt: text_argument, checked.
local rt = ...
local raw = rt.raw
local ctype, cerror, cpcall, cselect, ctostring = raw.type, raw.error, raw.pcall, raw.select, raw.tostring
local charge, is_opaque, tostring = rt.charge, rt.is_opaque, rt.tostring
local c = raw.string
local crep, csub, cformat, cbyte, cchar = c.rep, c.sub, c.format, c.byte, c.char
local cfind, cgmatch, cgsub = c.find, c.gmatch, c.gsub
local math_type = raw.math.type
local lib = rt.libs.string

-- A string argument: strings and numbers as they are, error objects (any opaque object) by their text.
local function text(v, n, fname)
  local kind = ctype(v)
  if kind == "string" then return v end
  if kind == "number" then return ctostring(v) end
  if is_opaque(v) then return tostring(v) end
  rt.typeerror(n, fname, "string", v, 1)
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

-- string(v)
function rt.globals.call_string(_, v)
  if ctype(v) ~= "string" then cerror("expected string, got " .. rt.type(v), 2) end
  return v
end

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
return true
