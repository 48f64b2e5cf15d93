-- approval: lay a request before a person, wait for the answer however long it takes, remind them meanwhile.
--   request  {order_id = string, remind_after = duration?, reminders = integer?}; "24h" and 3 if not given
--   signal   any topic, payload {approved = boolean, by = string?}
--   returns  {order_id, status = "fulfilled" | "rejected", reminders, by?}
-- When nobody answers to the last reminder either, the request is rejected.
local funcs = require("funcs")
local time = require("time")

-- Waits for a message, at most as long as given; returns nil when none came.
local function receive(inbox, longest)
    local timeout = time.after(longest)
    local result = channel.select({ inbox:case_receive(), timeout:case_receive() })
    if result.channel == timeout then
        return nil
    end
    return result.value
end

local function main(request)
    local _, err = funcs.call("app.approvals:submit", request)
    if err then
        return nil, err
    end

    local inbox = process.inbox()
    local reminders = 0
    local msg = receive(inbox, request.remind_after or "24h")
    while not msg and reminders < (request.reminders or 3) do
        reminders = reminders + 1
        _, err = funcs.call("app.notifications:remind", request, reminders)
        if err then
            return nil, err
        end
        msg = receive(inbox, request.remind_after or "24h")
    end

    local approved, by = false, "nobody"
    if msg then
        approved, by = msg.approved, msg.by -- fields of the payload
    end

    local status
    if approved then
        _, err = funcs.call("app.orders:fulfill", request.order_id)
        status = "fulfilled"
    else
        _, err = funcs.call("app.notifications:send_rejection", request)
        status = "rejected"
    end
    if err then
        return nil, err
    end
    return { order_id = request.order_id, status = status, reminders = reminders, by = by }
end

return main
