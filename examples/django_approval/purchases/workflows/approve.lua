-- approve: wait for the decision on a purchase, however long it takes, remind of it meanwhile, then do what it says.
--   request  {purchase = integer, remind_after = duration}
--   signal   any topic, payload {approved = boolean, by = string}
--   returns  {approved, by, order?, reminders}
local funcs = require("funcs")
local time = require("time")

local function main(request)
    local inbox = process.inbox()
    local decision
    local reminders = 0
    while not decision do
        local timeout = time.after(request.remind_after)
        local got = channel.select({ inbox:case_receive(), timeout:case_receive() })
        if got.channel == inbox then
            decision = got.value -- fields of the payload
        else
            reminders = reminders + 1
            local _, err = funcs.call("purchases:remind", request.purchase, reminders)
            if err then
                return nil, err
            end
        end
    end

    local call = decision.approved and "purchases:order" or "purchases:reject"
    local order, err = funcs.call(call, request.purchase)
    if err then
        return nil, err
    end
    return { approved = decision.approved, by = decision.by, order = order, reminders = reminders }
end

return main
