-- collect: gather the numbers of so many signals, in the order in which they come.
local function main(count)
    local inbox, events = process.inbox(), process.events()
    local found = {}
    for i = 1, count do
        local got = channel.select({ inbox:case_receive(), events:case_receive() })
        if got.channel == events then
            return { cancelled = true, found = found }
        end
        found[i] = got.value.n
    end
    return { found = found }
end

return main
