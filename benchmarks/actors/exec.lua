-- Runs a process and returns what it returned.
local function main(...) return assert(process.exec(...)) end

return { main = main }
