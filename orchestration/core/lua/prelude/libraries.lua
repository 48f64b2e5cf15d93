-- libraries: the values of the libraries that a unit imports. Adds to rt: library(id).
local rt = ...
local raw = rt.raw
local error, units = raw.error, rt.program.libraries

local values, loading = {}, {}

-- library(id) -> its value: its chunk runs once in each run
function rt.library(id)
  if values[id] == nil then
    if loading[id] then error("library " .. id .. " imports itself", 0) end
    -- A replay leaves the side effect out: it would load the library at another place.
    if rt.in_side_effect then error("library " .. id .. " is not loaded yet: require it outside the side effect", 0) end
    loading[id] = true
    local _ <close> = raw.setmetatable({}, { __close = function() loading[id] = nil end })
    local value = rt.run_prelude("compile", units[id])()
    values[id] = value == nil and true or value
    units[id].source = nil
  end
  return values[id]
end
return true
