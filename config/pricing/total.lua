-- total: adds up the items of an order.
--   items    list of {name = string, price = cents, quantity = integer?}
--   returns  {cents = integer, text = string}, or nil and an error of kind Invalid
local errors = require("errors")
local money = require("money")

local function total(items)
    local cents = 0
    for number, item in ipairs(items) do
        local quantity = item.quantity or 1
        if not money.is_amount(item.price) or not money.is_amount(quantity) then
            return nil, errors.new({
                message = "item " .. number .. " (" .. tostring(item.name) .. ") has no usable price or quantity",
                kind = errors.INVALID,
                retryable = false,
            })
        end
        cents = cents + item.price * quantity
    end
    return { cents = cents, text = money.format(cents) }
end

return { total = total }
