-- sandbox_table: the table library.
local rt = ...
local raw = rt.raw
local lib = {}
rt.libs.table = lib
for _, name in raw.ipairs { "insert", "remove", "concat", "sort", "unpack", "pack", "move" } do lib[name] = raw.table[name] end
return true
