# ruff: noqa: E501 - Lua sources read better on one line
"""Processes that are called like functions, and functions that live and die with their callers."""

from __future__ import annotations

import time

from orchestration import Client
from tests.support.actors import scenes

project, act = scenes(env={"ORCHESTRATION_HOSTS": "app:host"})
project.host("unserved", lifecycle={"start_timeout": "300ms"})

act.process("adds", "local a, b = ... return { a + b, process.pid(), ctx.get('a') or 0 }", meta={"default_host": "app:host"})
act.process("by_options", "return 'there'", meta={"options": {"default_host": "app:host"}})
act.process("fails", "return nil, errors.new { message = 'no', kind = 'Conflict', retryable = true }", meta={"default_host": "app:host"})
act.process("nowhere", "return 1", meta={"default_host": "app:unserved"})
act.process("without", "return 1")
act.process("naps", "time.sleep('200ms') return ...", meta={"default_host": "app:host"})
act.process("obeys", """
    -- Tells who it is and how it was asked to end, to a process that outlives its caller.
    local to = ...
    process.send(to, "begun", process.pid())
    local event = process.events():receive()
    process.send(to, "event", { event.kind, event.reason })
""", meta={"default_host": "app:host"})
act.function("endless", "process.send((...), 'begun', process.pid()) time.sleep('1h')")

direct = act.function("direct", "return said(funcs.call(...))")


def test_a_process_with_a_default_host_is_called_like_a_function(client: Client) -> None:
    total, pid, context = client.call(with_context, timeout=10)
    assert (total, context) == (5, 1)
    assert "@app:host|" in pid, "it runs on its host"
    assert client.call(direct, "app:by_options", timeout=10) == "there"
    assert client.call(direct, "app:fails", timeout=10) == "Conflict true: no"


with_context = act.function("with_context", "return funcs.new():with_context({ a = 1 }):call('app:adds', 2, 3)")


def test_a_process_that_cannot_be_started_is_an_internal_error(client: Client) -> None:
    said = client.call(direct, "app:nowhere", timeout=10)
    assert said.startswith("Internal false: failed to start process: host is not running")
    assert client.call(direct, "app:without", timeout=10).startswith("NotFound false: no handler registered for target")


at_once = act.function("at_once", """
    local futures, found = {}, {}
    for i = 1, 10 do futures[i] = funcs.async("app:naps", i) end
    for i = 1, 10 do futures[i]:response():receive() found[i] = futures[i]:result():data() end
    return found
""")


def test_calls_of_processes_run_in_parallel(client: Client) -> None:
    client.call(at_once, timeout=10)
    begun = time.monotonic()
    assert client.call(at_once, timeout=10) == list(range(1, 11))
    assert time.monotonic() - begun < 1.9, "not ten times 200 ms"


canceled = act.function("canceled", """
    local begun, event, events = process.listen("begun"), process.listen("event"), process.events()
    local caller = process.spawn_monitored("app:calls", "app:host", (...), process.pid())
    local pid = begun:receive()
    assert(process.monitor(pid))
    process.terminate(caller)
    local ends = {}
    for i = 1, 2 do
        local event = events:receive()
        ends[event.from == caller and "caller" or "callee"] = heard(event)[2] or "nothing"
    end
    ends.event = (...) == "app:obeys" and event:receive() or nil
    return ends
""")
act.process("calls", "funcs.call(...)")


def test_a_process_whose_caller_ends_is_asked_to_end_with_the_reason(client: Client) -> None:
    found = client.call(canceled, "app:obeys", timeout=10)
    assert found["caller"] == "Internal nil: process terminated"
    assert found["event"] == ["pid.cancel", "caller context canceled"]


def test_a_function_ends_with_its_caller(client: Client) -> None:
    found = client.call(canceled, "app:endless", timeout=10)
    assert found == {"caller": "Internal nil: process terminated", "callee": "Canceled false: canceled"}


late = act.function("late", """
    local begun, event = process.listen("begun"), process.listen("event")
    local _, err = funcs.new():with_options({ timeout = 300 }):call("app:obeys", process.pid())
    return { told(err), (event:receive()) }
""")


def test_a_call_that_takes_too_long_asks_its_process_to_end(client: Client) -> None:
    said, event = client.call(late, timeout=10)
    assert said == "Timeout false: app:obeys took too long"
    assert event == ["pid.cancel", "caller context canceled"]


own = act.function("own", """
    local echo = process.listen("echo")
    local pid = process.spawn_monitored("app:echoes", "app:host")
    assert(process.send(pid, "hello", process.pid()))
    return { echo:receive(), heard(process.events():receive()), process.get_options().trap_links }
""")
act.process("echoes", """
    local msg = process.inbox():receive()
    process.send(msg:payload():data(), "echo", msg:from() == msg:payload():data())
    return "done"
""")


def test_a_function_is_a_small_process(client: Client) -> None:
    assert client.call(own, timeout=10) == [True, ["pid.exit", "done"], False]
