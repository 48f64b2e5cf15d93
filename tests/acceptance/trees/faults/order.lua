-- order: eight activities, two of them at once, two sleeps and a signal. Each activity is given what the one before
-- it returned, so that a result that is lost, doubled or mixed up shows in the end.
--   order    {id = string, nap = duration}
--   signal   any topic, payload {by = string}
--   returns  {order_id, value, by, trail = list of the activities' names}
local funcs = require("funcs")
local time = require("time")

local function main(order)
    local value, trail = 1, {}

    local function note(result)
        value = result.value
        trail[#trail + 1] = result.name
    end

    local function step(name)
        local result, err = funcs.call("faults:" .. name, order.id, value)
        if err then
            error(err)
        end
        note(result)
    end

    step("reserve")
    step("charge")
    time.sleep(order.nap)

    -- Two at once; taken in the order in which they were asked for.
    local first = funcs.async("faults:invoice", order.id, value)
    local second = funcs.async("faults:pack", order.id, value)
    for _, future in ipairs({ first, second }) do
        local answer, ok = future:channel():receive()
        if not ok or type(answer) == "nil" then
            error("no result")
        end
        note(answer:data())
    end

    local msg = process.inbox():receive()
    step("label")
    time.sleep(order.nap)
    step("ship")
    step("notify")
    step("archive")
    return { order_id = order.id, value = value, by = msg.by, trail = trail }
end

return main
