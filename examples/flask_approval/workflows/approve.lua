local funcs = require("funcs")

local function main(order)
    local decision = process.inbox():receive() -- however long it takes
    if not decision.approved then
        funcs.call("orders:reject", order)
        return { approved = false }
    end
    local invoice, err = funcs.call("orders:invoice", order)
    if err then
        return nil, err
    end
    return { approved = true, invoice = invoice }
end

return main
