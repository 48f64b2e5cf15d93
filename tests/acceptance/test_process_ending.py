# ruff: noqa: E501 - Lua sources read better on one line
"""How processes end: by themselves, by an error, in a deadlock, asked to, or made to."""

from __future__ import annotations

import re

from orchestration import Client
from tests.support.actors import scenes

project, act = scenes()

ends = act.function("ends", "return said(process.exec((...), 'app:host'))")
for name, body in {
    "nothing": "", "value": "return { 1, 'a' }", "first": "return 1, nil, 3", "both": "return 1, errors.new { message = 'e', kind = 'Conflict', retryable = true }",
    "text": "return false, 'why'", "other": "return 1, 5", "raises": "error('boom')", "object": "error(errors.new { message = 'o', kind = 'NotFound' })",
    "task": "coroutine.spawn(function() time.sleep('5ms') error('in a task') end) process.inbox():receive()",
    "dropped": "coroutine.spawn(function() time.sleep('1h') error('never') end) return 'done'",
    "deadlock": "coroutine.spawn(function() channel.new():receive() end) channel.new():receive()",
    "itself": "process.terminate(process.pid()) process.inbox():receive()",
}.items():  # fmt: skip
    act.process(name, body)


def test_the_result_of_main_or_its_error_is_that_of_the_process(client: Client) -> None:
    found = {name: client.call(ends, f"app:{name}", timeout=10) for name in ("nothing", "value", "first", "both", "text", "other")}
    assert found == {
        "nothing": None, "value": [1, "a"], "first": 1, "both": "Conflict true: e", "text": "Internal false: why", "other": 1,
    }  # fmt: skip


def test_an_error_in_any_task_ends_the_process_with_it(client: Client) -> None:
    assert re.fullmatch(r"Internal nil: raises.lua:\d+: boom", client.call(ends, "app:raises", timeout=10))
    assert client.call(ends, "app:object", timeout=10) == "NotFound nil: o"
    assert re.fullmatch(r"Internal nil: task.lua:\d+: in a task", client.call(ends, "app:task", timeout=10))


def test_when_main_returns_other_tasks_are_dropped(client: Client) -> None:
    assert client.call(ends, "app:dropped", timeout=10) == "done"


def test_a_process_that_nothing_can_wake_ends_as_a_deadlock(client: Client) -> None:
    said = client.call(ends, "app:deadlock", timeout=10)
    assert said == "Internal false: deadlock: all coroutines blocked with no pending operations (threads=2)"


act.process("open", """
    -- Waits for what may still come, one after the other: none of it is a deadlock.
    local t = process.listen("t")
    t:receive()
    process.unlisten(t)
    process.events():receive()
    time.sleep("10ms")
    funcs.call("app:sleeps")
    return "alive"
""")
act.function("sleeps", "time.sleep('10ms')")
opened = act.function("opened", """
    local pid = process.spawn_monitored("app:open", "app:host")
    time.sleep("30ms")
    process.send(pid, "t")
    time.sleep("10ms")
    process.cancel(pid)
    return heard(process.events():receive())
""")


def test_who_waits_for_messages_events_time_or_calls_is_in_no_deadlock(client: Client) -> None:
    assert client.call(opened, timeout=10) == ["pid.exit", "alive"]


# Asked to end ---------------------------------------------------------------------------------------------------------

act.process("ignores", """
    -- Knows nothing of events until a message comes.
    local inbox = process.inbox()
    inbox:receive()
    local events = process.events()
    local event = events:receive()
    return { event.kind, event.reason, event.from }
""")
asked = act.function("asked", """
    local pid = process.spawn_monitored("app:ignores", "app:host")
    local found = { process.cancel(pid, "please") }
    found[2] = silent(process.events())
    process.send(pid, "look")
    local event = process.events():receive().result.value
    found[3], found[4], found[5] = event[1], event[2], event[3] == process.pid()
    return found
""")


def test_cancel_is_an_event_that_waits_for_its_reader_and_the_process_decides(client: Client) -> None:
    assert client.call(asked, timeout=10) == [True, True, "pid.cancel", "please", True]


cancels_itself = act.function("cancels_itself", """
    process.cancel(process.pid(), "mine")
    local event = process.events():receive()
    return { event.kind, event.reason, event.from == process.pid() }
""")


def test_a_process_can_ask_itself_to_end(client: Client) -> None:
    assert client.call(cancels_itself, timeout=10) == ["pid.cancel", "mine", True]


# Made to end ----------------------------------------------------------------------------------------------------------

act.process("waits", "process.inbox():receive()")
act.process("busy", """
    -- Long steps, one after the other, without ever waiting for a message.
    process.send((...), "begun")
    while true do
        for i = 1, 300000 do end
        time.sleep("1ms")
    end
""")
act.process("calls", "process.send((...), 'begun') funcs.call('app:slow')")
act.function("slow", "time.sleep('1h')")
act.process("sleeps_long", "process.send((...), 'begun') time.sleep('1h')")
terminated = act.function("terminated", """
    local begun, events, found = process.listen("begun"), process.events(), {}
    for i, id in ipairs { "app:busy", "app:calls", "app:sleeps_long" } do
        local pid = process.spawn_monitored(id, "app:host", process.pid())
        begun:receive()
        found[i] = { process.terminate(pid), heard(events:receive())[2], said(process.terminate(pid)):match("^%w+ %w+: process not found") }
    end
    return found
""")


def test_terminate_ends_what_is_busy_or_waits_without_running_its_code(client: Client) -> None:
    assert client.call(terminated, timeout=10) == [
        [True, "Internal nil: process terminated", "Internal false: process not found"]
    ] * 3  # fmt: skip


def test_a_process_can_end_itself(client: Client) -> None:
    assert client.call(ends, "app:itself", timeout=10) == "Internal nil: process terminated"
