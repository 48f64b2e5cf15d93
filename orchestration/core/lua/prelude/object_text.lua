-- object_text: the text of any value. Adds to rt and to the globals: tostring(v).
local rt = ...
local raw = rt.raw
local ctype, crawget, cerror, getmetatable = raw.type, raw.rawget, raw.error, raw.getmetatable
local ctostring, format, opaque, serial = raw.tostring, raw.string.format, rt.opaque, rt.serial

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
rt.globals.tostring = rt.tostring
return true
