-- global_library: the global functions that not every program uses, and the table package.
local rt = ...
local raw = rt.raw
local ctype, crawget, cerror = raw.type, raw.rawget, raw.error
local csetmetatable, getmetatable, is_opaque = raw.setmetatable, raw.getmetatable, rt.is_opaque
local globals, package = rt.globals, rt.libs.package

function globals.setmetatable(t, mt)
  if ctype(t) ~= "table" then rt.typeerror(1, "setmetatable", "table", t) end
  local old = getmetatable(t)
  if old and crawget(old, "__metatable") ~= nil then cerror("cannot change a protected metatable", 2) end
  if mt ~= nil then
    if ctype(mt) ~= "table" then rt.typeerror(2, "setmetatable", "nil or table", mt) end
    if crawget(mt, "__gc") ~= nil or crawget(mt, "__mode") ~= nil then
      cerror("setmetatable refuses __gc and __mode: finalizers and weak tables show the garbage collector", 2)
    end
  end
  return csetmetatable(t, mt)
end

function globals.ipairs(t)
  if t == nil or is_opaque(t) then rt.typeerror(1, "ipairs", "table", t) end
  return raw.ipairs(t)
end

-- `rt.on_print(text)` takes the line.
function globals.print(...)
  local n = raw.select("#", ...)
  local parts = { ... }
  for i = 1, n do parts[i] = rt.tostring(parts[i]) end
  local line = raw.table.concat(parts, " ", 1, n)
  if rt.on_print then rt.on_print(line) end
end

package.path, package.cpath, package.config = "", "", "/\n;\n?\n!\n-\n"
function package.loadlib() return nil, "dynamic libraries not enabled", "absent" end
return true
