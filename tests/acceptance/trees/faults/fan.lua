-- fan: many activities at once.
--   returns  number of results
local funcs = require("funcs")

local function main(order)
    local futures = {}
    for i = 1, order.width do
        futures[i] = funcs.async("faults:reserve", order.id .. "/" .. i, i)
    end
    local count = 0
    for _, future in ipairs(futures) do
        local _, ok = future:channel():receive()
        if ok then
            count = count + 1
        end
    end
    return count
end

return main
