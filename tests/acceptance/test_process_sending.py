# ruff: noqa: E501 - Lua sources read better on one line
"""Messages are sent: to whom, with what, in which order, and what is said when nobody is there."""

from __future__ import annotations

import re

from orchestration import Client
from tests.support.actors import scenes

project, act = scenes()

act.process(
    "echoes",
    """
    local inbox = process.inbox()
    while true do
        local msg = inbox:receive()
        if msg:topic() == "end" then return end
        local payload = msg:payload()
        local values = "none"
        if type(payload) == "table" then
            values = {}
            for i, wrapper in ipairs(payload) do values[i] = wrapper:data() == nil and "nil" or wrapper:data() end
        elseif payload then
            values = payload:data()
        end
        process.send(msg:from(), "echo", { topic = msg:topic(), values = values })
    end
""",
)
act.process(
    "counts",
    """
    local to, times = ...
    local inbox, found = process.inbox(), {}
    for i = 1, times do found[i] = inbox:receive():payload():data() end
    return found
""",
)
project.workflow(
    "flow",
    """
    return function()
        local msg = process.inbox():receive()
        return { msg:topic(), msg:from(), msg:payload():data() }
    end
""",
)

payloads = act.function(
    "payloads",
    """
    local echo = process.listen("echo")
    local pid = process.spawn("app:echoes", "app:host")
    local found = {}
    local function ask(...)
        assert(process.send(pid, ...))
        found[#found + 1] = echo:receive()
    end
    ask("none") ask("one", { a = { 1, 2 } }) ask("several", 1, nil, "three") ask("nothing", nil)
    ask("inbox", 1) ask("", 2) ask("any topic: *", 3)
    process.send(pid, "end")
    return found
""",
)


def test_a_message_has_none_one_or_several_values_and_any_topic(client: Client) -> None:
    assert client.call(payloads, timeout=10) == [
        {"topic": "none", "values": "none"}, {"topic": "one", "values": {"a": [1, 2]}},
        {"topic": "several", "values": [1, "nil", "three"]}, {"topic": "nothing"},
        {"topic": "inbox", "values": 1}, {"topic": "", "values": 2}, {"topic": "any topic: *", "values": 3},
    ]  # fmt: skip


wrong = act.function(
    "wrong",
    """
    local pid = process.spawn("app:echoes", "app:host")
    local found = { said(process.send()), said(process.send(pid)), said(process.send(pid, "@x")),
        said(process.send("nobody", "x")), said(process.send("{no pid", "x")), said(process.send("", "x")),
        raised(process.send, 5, "x"), raised(process.send, pid, 5) }
    process.terminate(pid)
    gone(pid)
    found[#found + 1] = said(process.send(pid, "x"))
    found[#found + 1] = said(process.send("{0123456789ab@app:host|0x00001}", "x"))
    found[#found + 1] = said(process.send("{app:client@app:worker|no-such-workflow}", "x"))
    return found
""",
)


def test_what_is_wrong_with_a_message_is_returned(client: Client) -> None:
    found = client.call(wrong, timeout=10)
    few = "Invalid false: send requires at least destination and topic arguments"
    unresolved = "NotFound false: could not resolve '{}' as PID or registered name"
    assert found[:6] == [
        few, few, "Invalid false: cannot send to @ topics", *(unresolved.format(dest) for dest in ("nobody", "{no pid", "")),
    ]  # fmt: skip
    assert found[6:8] == [f"bad argument #{n} to 'send' (string expected, got number)" for n in (1, 2)]
    assert all(said.startswith("NotFound false: process not found") for said in found[8:]), found[8:]


to_itself = act.function(
    "to_itself",
    """
    local me = process.pid()
    local one, two = process.send(me, "a", 1), process.send(me, "b", 2)
    local inbox = process.inbox()
    local first, second = inbox:receive(), inbox:receive()
    return { one, two, first:topic(), first:from() == me, second:topic(), second:payload():data() }
""",
)


def test_a_process_writes_to_itself(client: Client) -> None:
    assert client.call(to_itself, timeout=10) == [True, True, "a", True, "b", 2]


ordered = act.function(
    "ordered",
    """
    local pid = process.spawn_monitored("app:counts", "app:host", process.pid(), 300)
    for i = 1, 300 do assert(process.send(pid, "topic " .. i % 7, i)) end
    return process.events():receive().result.value
""",
)


def test_messages_of_one_sender_arrive_in_their_order_whatever_the_topics(client: Client) -> None:
    assert client.call(ordered, timeout=10) == list(range(1, 301))


addresses = act.function(
    "addresses",
    """
    local echo = process.listen("echo")
    local pid = process.spawn("app:echoes", "app:host")
    local found = {}
    for i, dest in ipairs { pid, (pid:gsub("|", "|old|")) } do
        found[i] = said(process.send(dest, "t", i)) == true and echo:receive().values
    end
    process.send(pid, "end")
    return found
""",
)


def test_the_older_form_of_an_address_has_its_number_behind_the_second_bar(client: Client) -> None:
    assert client.call(addresses, timeout=10) == [1, 2]


to_workflow = act.function(
    "to_workflow",
    """
    local pid = process.spawn_monitored("app:flow", "celery")
    assert(process.send(pid, "hello", { 1 }))
    local found = process.events():receive().result.value
    return { found[1], found[2] == process.pid(), found[3] }
""",
)


def test_a_message_to_a_workflow_is_a_signal(client: Client) -> None:
    assert client.call(to_workflow, timeout=10) == ["hello", True, [1]]


act.process(
    "busy",
    """
    process.send((...), "begun")
    local n = 0
    for i = 1, 30000000 do n = n + i end
    process.inbox():receive()
""",
)
closing = act.function(
    "closing",
    """
    -- Again, should it not be busy any more when it is terminated: this machine may have been busy itself.
    local begun, found = process.listen("begun"), {}
    for i = 1, 10 do
        local pid = process.spawn_monitored("app:busy", "app:host", process.pid())
        begun:receive()
        assert(process.terminate(pid))
        local during = said(process.send(pid, "x"))
        found[i] = { during, heard(process.events():receive()), said(process.send(pid, "x")) }
        if during == "InvalidState false: process closed" then break end
    end
    return found
""",
)


def test_a_process_that_is_about_to_be_terminated_takes_no_message(client: Client) -> None:
    found = client.call(closing, timeout=60)
    assert found[-1][0] == "InvalidState false: process closed"
    for during, ended, after in found:
        assert during is not True
        assert ended == ["pid.exit", "Internal nil: process terminated"]
        assert re.match("NotFound false: process not found", after)
