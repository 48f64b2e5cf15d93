-- beside: call a Python function that uses the database beside the step that calls it, three times.
local funcs = require("funcs")

local function main(order)
    local beside, found = funcs.new():with_options({ ["activity.local"] = true }), {}
    for i = 1, 3 do
        found[i] = beside:call("orders:local_note", order, "note " .. i)
    end
    return { found = found, count = funcs.call("orders:count", order) }
end

return main
