-- fulfil: write one note for an order, so that every run that there was can be counted.
local funcs = require("funcs")

local function main(order)
    local _, err = funcs.call("orders:note", order, "fulfilled")
    if err then
        return nil, err
    end
    return "fulfilled " .. order
end

return main
