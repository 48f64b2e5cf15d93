-- order_processor: charge a card, wait, look how the payment ended, give the money back if it failed.
--   order    {id = string, amount = cents, card = string?, delay = duration?}; delay is "24h" if not given
--   returns  {order_id, status = "fulfilled" | "refunded", payment_id, refund_id?}
--   fails    with the error of the charge: then no money has moved
local funcs = require("funcs")
local time = require("time")

local function main(order)
    local payment, err = funcs.call("app.api:charge_card", order)
    if err then
        return nil, err
    end

    time.sleep(order.delay or "24h")

    local status
    status, err = funcs.call("app.api:check_status", payment.id)
    if err then
        return nil, err
    end

    if status == "failed" then
        local refund
        refund, err = funcs.call("app.api:refund", payment.id)
        if err then
            return nil, err
        end
        return { order_id = order.id, status = "refunded", payment_id = payment.id, refund_id = refund.id }
    end

    local _, fulfil_err = funcs.call("app.orders:fulfill", order.id)
    if fulfil_err then
        return nil, fulfil_err
    end
    return { order_id = order.id, status = "fulfilled", payment_id = payment.id }
end

return main
