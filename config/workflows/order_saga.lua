-- order_saga: reserve the goods, charge for them, ship them; when a step fails, undo those before it, last first.
--   order    {id = string, items = list of {name, price = cents, quantity?}, card = string?, address = string}
--   returns  {order_id, status = "shipped", total, inventory_id, payment_id, shipment_id}
--   fails    with the reason of the step that failed; details().undone lists what was undone, in that order
--
-- A step may fail in two ways, and both are answered alike: the activity returns a table with a field `error`, or
-- it raises, which funcs.call hands over as `nil, err`.
local funcs = require("funcs")
local errors = require("errors")

-- Calls an activity; returns its result, or nil and the reason.
local function step(id, ...)
    local result, err = funcs.call(id, ...)
    if err then
        return nil, err
    end
    if result.error then
        return nil, errors.new({ message = result.error, kind = "StepFailed", retryable = false })
    end
    return result
end

local function main(order)
    local undo = {}

    local function fail(reason)
        local undone = {}
        for i = #undo, 1, -1 do
            local _, err = funcs.call(undo[i].id, undo[i].argument)
            if err then
                return nil, errors.wrap(err, "while undoing with " .. undo[i].id)
            end
            undone[#undone + 1] = undo[i].id
        end
        return nil, errors.new({
            message = reason:message(),
            kind = reason:kind(),
            retryable = false,
            details = { order_id = order.id, undone = undone },
        })
    end

    local price, err = step("app.pricing:total", order.items)
    if err then
        return fail(err)
    end

    local inventory
    inventory, err = step("app.inventory:reserve", order.id, order.items)
    if err then
        return fail(err)
    end
    undo[#undo + 1] = { id = "app.inventory:release", argument = inventory.id }

    local payment
    payment, err = step("app.payments:charge", order.id, price.cents, order.card or "good")
    if err then
        return fail(err)
    end
    undo[#undo + 1] = { id = "app.payments:refund", argument = payment.id }

    local shipment
    shipment, err = step("app.shipping:create", order.id, order.address)
    if err then
        return fail(err)
    end

    return {
        order_id = order.id,
        status = "shipped",
        total = price.text,
        inventory_id = inventory.id,
        payment_id = payment.id,
        shipment_id = shipment.id,
    }
end

return main
