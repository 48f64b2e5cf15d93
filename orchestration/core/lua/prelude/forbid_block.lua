-- forbid_block: marks a scope in which no task can wait. Adds to rt: forbid_block(label).
local rt = ...
local raw = rt.raw

local guard = { __close = function(g) rt.unblockable, rt.unblockable_in = g[1], g[2] end }

-- `local _ <close> = rt.forbid_block("table.sort")`: no blocking verb works until the end of that scope.
function rt.forbid_block(label)
  local g = raw.setmetatable({ rt.unblockable, rt.unblockable_in }, guard)
  rt.unblockable, rt.unblockable_in = label, raw.coroutine.running()
  return g
end
return true
