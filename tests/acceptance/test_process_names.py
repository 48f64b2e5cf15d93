# ruff: noqa: E501 - Lua sources read better on one line
"""Names of processes: registered, found, taken away, and the spawn that signals whoever has the name."""

from __future__ import annotations

import itertools

import pytest

from orchestration import Client
from tests.support.actors import scenes

project, act = scenes()
_names = (f"name-{n}" for n in itertools.count())

act.process("waits", "process.inbox():receive()")
act.process(
    "collects",
    """
    local inbox, found = process.inbox(), {}
    for i = 1, (...) do
        local msg = inbox:receive()
        found[i] = msg:topic() .. " " .. msg:from()
    end
    return found
""",
)
act.process(
    "takes",
    """
    local to, name = ...
    process.send(to, "took", said(process.registry.register(name)))
    process.inbox():receive()
""",
)

registered = act.function(
    "registered",
    """
    local name = ...
    local registry, me = process.registry, process.pid()
    local other = process.spawn("app:waits", "app:host")
    local found = {
        { registry.register(name) }, { registry.register(name, me) }, registry.register(name .. "-2", me),
        registry.lookup(name) == me, registry.lookup(name .. "-2") == me,
        said(registry.register(name, other)), registry.register(name .. "-other", other),
        registry.lookup(name .. "-other") == other,
    }
    assert(process.send(name, "to-me", 1))
    found[#found + 1] = process.inbox():receive():topic()
    process.terminate(other)
    return found
""",
)


def test_a_process_has_as_many_names_as_it_takes_and_a_name_one_process(client: Client) -> None:
    assert client.call(registered, next(_names), timeout=10) == [
        [True], [True], True, True, True, "AlreadyExists false: name already registered", True, True, "to-me",
    ]  # fmt: skip


wrong = act.function(
    "wrong",
    """
    local registry, name = process.registry, ...
    return {
        said(registry.lookup(name)), said(registry.register(name, 5)), said(registry.register(name, "no pid")),
        said(registry.register("")), said(registry.register(name, nil, "x")),
        said(registry.register(name, nil, registry.EVENTUAL)), said(registry.register(name, nil, registry.CONSISTENT)),
        said(registry.register(name, nil, registry.STRONG)), said(registry.register(name, nil, registry.LOCAL)),
        said(registry.unregister(name, registry.STRONG)), raised(registry.register, 5), raised(registry.lookup),
        said(registry.register(name .. "x", "{0123456789ab@app:host|0x00001}")), registry.unregister(name),
        { registry.LOCAL, registry.EVENTUAL, registry.CONSISTENT, registry.STRONG },
    }
""",
)


def test_what_is_wrong_with_a_name_is_said(client: Client) -> None:
    found = client.call(wrong, next(_names), timeout=10)
    assert found[:9] == [
        "NotFound false: name not registered", "Invalid false: pid must be a string", "Invalid false: invalid pid",
        "Invalid false: name cannot be empty", "Invalid false: scope must be a number",
        "Internal false: eventual registry not available", *["Internal false: global registry not available"] * 2, True,
    ]  # fmt: skip
    assert found[9] == "Internal false: global registry not available"
    assert found[10:12] == [
        "bad argument #1 to 'register' (string expected, got number)",
        "bad argument #1 to 'lookup' (string expected, got no value)",
    ]
    assert found[12].startswith("NotFound false: process not found")
    assert found[13:] == [True, [0, 1, 2, 3]]


unregistered = act.function(
    "unregistered",
    """
    local registry, name = process.registry, ...
    local took = process.listen("took")
    local other = process.spawn("app:takes", "app:host", process.pid(), name)
    assert(took:receive() == true)
    local found = { registry.unregister(name), registry.unregister(name), said(registry.lookup(name)),
        said(process.send(name, "x")), registry.register(name), (registry.lookup(name)) == process.pid() }
    process.terminate(other)
    gone(other)
    found[#found + 1] = registry.lookup(name) == process.pid()
    return found
""",
)


def test_unregister_says_whether_the_name_was_there_and_asks_no_owner(client: Client) -> None:
    name = next(_names)
    assert client.call(unregistered, name, timeout=10) == [
        True, False, "NotFound false: name not registered",
        f"NotFound false: could not resolve '{name}' as PID or registered name", True, True, True,
    ]  # fmt: skip


released = act.function(
    "released",
    """
    local registry, name = process.registry, ...
    local took, events, found = process.listen("took"), process.events(), {}
    for i, how in ipairs { "send", "terminate", "send", "terminate" } do
        local pid = process.spawn_monitored("app:takes", "app:host", process.pid(), name)
        local who = took:receive() == true and registry.lookup(name) == pid
        process[how](pid, "end")
        events:receive()
        found[i] = { who, said(registry.lookup(name)), said(process.send(pid, "x")):match("not found") }
    end
    return found
""",
)


def test_when_its_end_is_told_a_name_is_free_already(client: Client) -> None:
    found = client.call(released, next(_names), timeout=10)
    assert found == [[True, "NotFound false: name not registered", "not found"]] * 4


everywhere = act.function(
    "everywhere",
    """
    local name = ...
    local took = process.listen("took")
    local pid = process.spawn("app:takes", "app:host", process.pid(), name)
    took:receive()
    local found = { process.monitor(name), process.link(name), process.unlink(name), process.cancel(name, "x"),
        process.terminate(name) }
    found[#found + 1] = process.events():receive().from == pid
    return found
""",
)


def test_a_name_stands_for_the_pid_wherever_one_is_asked_for(client: Client) -> None:
    assert client.call(everywhere, next(_names), timeout=10) == [True] * 6


# Spawn or signal ------------------------------------------------------------------------------------------------------

signals = act.function(
    "signals",
    """
    local name, verb = ...
    local builder = process.with_options({}):with_name(name)
    local one = builder:with_message("first", 1):spawn("app:collects", "app:host", 3)
    local found = process.registry.lookup(name) == one
    local again = builder:with_message("second", 2):with_message("third", 3)
    local two, err = again[verb](again, "app:collects", "app:host", 3)
    local event = verb == "spawn_monitored" and process.events():receive()
    return { found, one == two, err == nil, event and event.from == one and event.result.value }
""",
)


def test_a_spawn_with_a_name_that_is_taken_signals_whoever_has_it(client: Client) -> None:
    assert client.call(signals, next(_names), "spawn", timeout=10) == [True, True, True, False]
    monitored = client.call(signals, next(_names), "spawn_monitored", timeout=10)
    assert monitored == [True, True, True, ["first ", "second ", "third "]], "without a sender, and it is monitored"


races = act.function(
    "races",
    """
    local name, times = ...
    local pids, finished, n = {}, channel.new(times), 0
    for i = 1, times do
        coroutine.spawn(function()
            local pid = process.with_options({}):with_name(name):with_message("hello", i)
                :spawn_monitored("app:collects", "app:host", times)
            if not pids[pid] then pids[pid], n = true, n + 1 end
            finished:send(true)
        end)
    end
    for i = 1, times do finished:receive() end
    return { n, #process.events():receive().result.value, silent(process.events()) }
""",
)


def test_of_racing_spawns_one_starts_and_the_others_signal(client: Client) -> None:
    assert client.call(races, next(_names), 8, timeout=10) == [1, 8, True], "one process, 8 messages, one monitor"


executes = act.function("executes", """
    local name = ...
    local pid = process.with_options({}):with_name(name):spawn("app:collects", "app:host", 2)
    local finished = channel.new(1)
    coroutine.spawn(function()
        finished:send({ said(process.with_options({}):with_name(name):with_message("one"):exec("app:collects", "app:host", 2)) })
    end)
    process.send(pid, "two")
    local found = finished:receive()[1]
    table.sort(found)  -- of different senders, in any order
    return found
""")


def test_exec_under_a_name_that_is_taken_waits_for_the_end_of_whoever_has_it(client: Client) -> None:
    first, second = client.call(executes, next(_names), timeout=10)
    assert (first, second.split()[0]) == ("one ", "two")


replaced = act.function("replaced", """
    -- Whoever has the name is busy, and about to be terminated: no startup message may go to it.
    local name, events = ..., process.events()
    local builder = process.with_options({}):with_name(name)
    for i = 1, 5 do
        local busy = builder:spawn_monitored("app:busy", "app:host")
        assert(process.terminate(busy))
        local pid = assert(builder:with_message("hello"):spawn_monitored("app:collects", "app:host", 1))
        local ends = {}
        for _ = 1, 2 do
            local event = events:receive()
            ends[event.from] = heard(event)[2]
        end
        if pid == busy or ends[pid][1] ~= "hello " then return i end
    end
    return "never lost"
""")
act.process("busy", """
    while true do
        for i = 1, 3000000 do end
        time.sleep("1ms")
    end
""")


def test_a_startup_message_never_goes_to_one_that_is_about_to_be_terminated(client: Client) -> None:
    assert client.call(replaced, next(_names), timeout=20) == "never lost"


@pytest.mark.parametrize("times", [6])
def test_a_name_is_taken_again_as_soon_as_its_process_has_ended(client: Client, times: int) -> None:
    name = next(_names)
    for _ in range(times):
        assert client.call(signals, name, "spawn_monitored", timeout=10)[0] is True, "a new process, not the dead one"
