# ruff: noqa: E501 - Lua sources read better on one line
"""A process goes on with other code: what it keeps, and what it does not."""

from __future__ import annotations

from orchestration import Client
from tests.support.actors import scenes

project, act = scenes()

act.process("first", """
    -- Upgrades when it is told to, in a state full of everything.
    local to, how = ...
    process.set_options { trap_links = true }
    local go, taken, kept = process.listen("go"), process.listen("taken"), process.listen("kept")
    process.send(to, "ready", process.pid())
    go:receive()
    -- In the same step as the upgrade: they cannot end before it.
    coroutine.spawn(function() time.sleep("40ms") process.send(to, "late", "timer of the old code") end)
    coroutine.spawn(function() funcs.call("app:slow") process.send(to, "late", "call of the old code") end)
    if how == "self" then process.upgrade(nil, to, "again") end
    if how == "number" then process.upgrade(5, to, "again") end
    if how == "again" then
        process.send(to, "again", { process.pid(), process.id() })
        process.upgrade("app:second", to, "more")
    end
    process.upgrade("app:second", to, 1, nil, "three")
    process.send(to, "late", "after the upgrade")
""")
act.process("second", """
    local to = ...
    local n = select("#", ...)
    process.send(to, "new", {
        pid = process.pid(), id = process.id(), n = n, last = select(n, ...), traps = process.get_options().trap_links,
        a = ctx.get("a"),
    })
    local inbox, events, found = process.inbox(), process.events(), {}
    while true do
        local msg = inbox:receive()
        if msg:topic() == "end" then break end
        found[#found + 1] = msg:topic() .. " " .. msg:payload():data()
    end
    process.send(to, "found", found)
    process.send(to, "called", { (funcs.call("app:fast")), (funcs.call("app:fast")) })
    process.send(to, "event", events:receive().kind)
    process.inbox():receive()
""")
act.function("slow", "time.sleep('60ms') return 'slow'")
act.function("fast", "time.sleep('30ms') return 'fast'")

upgraded = act.function("upgraded", """
    local name = ...
    local events, late = process.events(), process.listen("late")
    local ready, new, found = process.listen("ready"), process.listen("new"), process.listen("found")
    local called, event = process.listen("called"), process.listen("event")
    process.set_options { trap_links = true }
    local pid = process.with_context({ a = "context" }):with_name(name)
        :spawn_linked_monitored("app:first", "app:host", process.pid())
    ready:receive()
    process.cancel(pid)
    for i = 1, 3 do process.send(pid, "taken", i) process.send(pid, "kept", i) process.send(pid, "other", i) end
    process.send(pid, "go")
    process.send(pid, "after", 1)
    local facts = new:receive()
    facts.pid, facts.same = nil, facts.pid == pid
    process.send(pid, "end")
    local result = { facts = facts, found = found:receive(), called = called:receive(), event = event:receive(),
        named = process.registry.lookup(name) == pid, silent = silent(events, "20ms") and silent(late, "100ms") }
    process.terminate(pid)
    result.ends = { heard(events:receive()), heard(events:receive()) }
    return result
""")


def test_an_upgrade_keeps_pid_names_monitors_links_context_and_what_is_undelivered(client: Client) -> None:
    found = client.call(upgraded, "upgrades", timeout=10)
    assert found["facts"] == {"same": True, "id": "app:second", "n": 4, "last": "three", "traps": False, "a": "context"}
    assert found["found"] == [*(f"{topic} {i}" for i in (1, 2, 3) for topic in ("taken", "kept", "other")), "after 1"]
    assert found["event"] == "pid.cancel", "an event that nobody has read is kept, too"
    assert found["named"] is True
    end = "Internal nil: process terminated"
    assert found["ends"] == [["pid.exit", end], ["pid.link.down", end]]


def test_no_exit_and_nothing_of_the_old_codes_tasks_timers_and_calls_comes_after_an_upgrade(client: Client) -> None:
    found = client.call(upgraded, "upgrades-too", timeout=10)
    assert found["silent"] is True
    assert found["called"][0] == found["called"][-1] == "fast", "not the answer to the old code's call"


same = act.function("same", """
    local how = ...
    local ready, again, new = process.listen("ready"), process.listen("again"), process.listen("new")
    local pid = process.spawn("app:first", "app:host", process.pid(), how)
    ready:receive()
    process.send(pid, "go")
    ready:receive()
    process.send(pid, "go")
    local found = { again:receive(), new:receive() }
    process.terminate(pid)
    return { found[1][1] == pid, found[1][2], found[2].id, found[2].last }
""")


def test_without_an_id_the_same_code_begins_again(client: Client) -> None:
    assert client.call(same, "self", timeout=10) == [True, "app:first", "app:second", "more"]
    assert client.call(same, "number", timeout=10) == [True, "app:first", "app:second", "more"]


act.process("upgrades_to", "process.upgrade(...)")
project.process("broken", "error('never loaded')")
project.process("no_method", "return { other = 1 }")
project.process("raises", "return function() error('boom') end")
project.entry("file", "registry.entry")
failing = act.function("failing", "return said(process.exec('app:upgrades_to', 'app:host', ...))")


def test_an_upgrade_to_code_that_cannot_be_made_is_an_abnormal_end(client: Client) -> None:
    said = {name: client.call(failing, f"app:{name}", timeout=10) for name in ("none", "file", "broken", "no_method", "raises")}
    assert said["none"].startswith("NotFound false: upgrade: create failed: ")
    assert "app:none" in said["none"]
    assert said["file"].startswith("NotFound false: upgrade: create failed: ")
    assert said["broken"] == "Internal nil: upgrade: init failed: broken.lua:1: never loaded"
    assert said["no_method"] == 'NotFound false: upgrade: init failed: method "main" not found in module'
    assert said["raises"] == "Internal nil: raises.lua:1: boom", "an error of the new code is its own"


traps = act.function("traps", """
    -- A link that broke and was not read: the new code traps it, or dies of it, as it says itself.
    local ready, found = process.listen("ready"), {}
    for i, into in ipairs { "app:trapping", "app:does_not" } do
        local pid = process.spawn_monitored("app:keeps_a_link_down", "app:host", process.pid(), into)
        ready:receive()
        found[i] = heard(process.events():receive())[2]
    end
    return found
""")
act.process("keeps_a_link_down", """
    local to, into = ...
    process.set_options { trap_links = true }
    process.spawn_linked("app:fails", "app:host")
    time.sleep("30ms")
    process.send(to, "ready")
    process.upgrade(into)
""")
act.process("fails", "error('boom')")
act.process("trapping", "process.set_options { trap_links = true } return process.events():receive().kind")
act.process("does_not", "time.sleep('1h')")


def test_links_are_not_trapped_any_more_until_the_new_code_says_so(client: Client) -> None:
    assert client.call(traps, timeout=10) == ["pid.link.down", "Internal nil: linked process failed"]


act.process("counter", """
    -- State goes along as arguments: the way to change code without losing anything.
    local inbox, count = process.inbox(), (...) or 0
    while true do
        local msg = inbox:receive()
        if msg:topic() == "end" then return count end
        if msg:topic() == "upgrade" then process.upgrade(nil, count) end
        count = count + msg:payload():data()
    end
""")
hot = act.function("hot", """
    local pid = process.spawn_monitored("app:counter", "app:host")
    for i = 1, 200 do
        assert(process.send(pid, "add", i))
        if i % 20 == 0 then assert(process.send(pid, "upgrade")) end
    end
    process.send(pid, "end")
    return heard(process.events():receive())
""")


def test_no_message_is_lost_over_many_upgrades(client: Client) -> None:
    assert client.call(hot, timeout=10) == ["pid.exit", 200 * 201 // 2]


function_upgrades = act.function("function_upgrades", """
    local n = (...) or 0
    if n < 3 then process.upgrade(nil, n + 1) end
    return n
""")


def test_a_function_upgrades_like_a_process(client: Client) -> None:
    assert client.call(function_upgrades, timeout=10) == 3
