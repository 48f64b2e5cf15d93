"""Functions and Python code start, watch, signal and end workflows."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration import Client
from orchestration.errors import WorkflowNotFoundError
from tests.support.projects import Project

project = Project()

answer = project.workflow(
    "answer",
    """
    local errors = require("errors")
    local function main(how, value)
        if how == "fail" then
            return nil, errors.new { message = "no", kind = "NotFound", retryable = false }
        end
        if how == "wait" then
            local msg = process.inbox():receive()
            return { topic = msg:topic(), from = msg:from(), data = msg:payload():data() }
        end
        if how == "both" then
            local inbox = process.inbox()
            return { inbox:receive():topic(), inbox:receive():topic() }
        end
        if how == "obey" then
            local event = process.events():receive()
            return nil, errors.new { message = event.reason, kind = "Canceled" }
        end
        return value
    end
    return main
    """,
)

FRAME = """
local time = require("time")
local ctx = require("ctx")
local function plain(err)
    return err and { kind = err:kind(), message = err:message(), retryable = err:retryable() }
end
local function nothing_within(channel_, how_long)
    return channel.select { channel_:case_receive(), time.after(how_long):case_receive() }.channel ~= channel_
end
local function main(...)
%s
end
return main
"""


def function(name: str, body: str) -> str:
    return project.function(name, FRAME % body, modules=["time", "ctx", "errors"])


execute = function("execute", """
    local how, value = ...
    local result, err = process.with_context({ a = 1 }):exec("app:answer", "celery", how, value)
    return { value = result, error = plain(err) }
""")

watch = function("watch", """
    local verb, how, value = ...
    local events = process.events()
    if verb == "spawn_linked" then process.set_options({ trap_links = true }) end
    local pid = process[verb]("app:answer", "", how, value)
    local event = events:receive()
    local result = event.result
    return { same = event.from == pid, kind = event.kind, value = result.value, error = plain(result.error) }
""")

later = function("later", """
    local verb, stop, how = ...
    local events = process.events()
    process.set_options({ trap_links = true })
    local pid = process.spawn("app:answer", "", how)
    time.sleep("100ms")
    assert(process[verb](pid))
    if stop == "terminate" then assert(process.terminate(pid)) else assert(process.cancel(pid, "enough")) end
    local event = events:receive()
    return { kind = event.kind, error = plain(event.result.error) }
""")

no_longer = function("no_longer", """
    local verb, undo = ...
    local events = process.events()
    local pid = process.spawn("app:answer", "", "wait")
    assert(process[verb](pid))
    assert(process[undo](pid))
    process.terminate(pid)
    return nothing_within(events, "700ms")
""")

untrapped = function("untrapped", """
    process.spawn_linked("app:answer", "", "fail")
    process.inbox():receive()
""")

talk = function("talk", """
    local pid = process.spawn("app:answer", "", "wait")
    local ok, err = process.send(pid, "hello", { n = 1 })
    process.monitor(pid)
    local event = process.events():receive()
    local late, problem = process.send(pid, "again")
    return { ok = ok, value = event.result.value, me = process.pid(), late = plain(problem) }
""")

missing = function("missing", """
    local found = {}
    for _, verb in ipairs({ "monitor", "link", "cancel", "terminate" }) do
        local _, err = process[verb]("{a@b|nobody}")
        found[verb] = plain(err)
    end
    local _, err = process.send("no-name", "x")
    found.send = plain(err)
    return found
""")

named = function("named", """
    local one = process.with_options({}):with_name("by-name"):with_message("first", 1):spawn("app:answer", "", "both")
    local two = process.with_options({}):with_name("by-name"):with_message("second", 2):spawn("app:answer", "", "both")
    process.with_options({ ["workflow.id"] = "taken" }):spawn("app:answer", "", "obey")
    local pid, err = process.with_options({ ["workflow.id"] = "taken", ["workflow.id_conflict_policy"] = "fail" })
        :spawn_monitored("app:answer", "", "obey")
    return { same = one == two, pid = one, conflict = err and err:kind() }
""")


def test_exec_from_a_function_waits_for_the_value_or_the_error(client: Client) -> None:
    assert client.call(execute, "value", 5, timeout=20) == {"value": 5}
    error = client.call(execute, "fail", timeout=10)["error"]
    assert error == {"kind": "NotFound", "message": "no", "retryable": False}


@pytest.mark.parametrize(("verb", "how", "kind"), [
    ("spawn_monitored", "value", "pid.exit"), ("spawn_monitored", "fail", "pid.exit"),
    ("spawn_linked", "value", "pid.exit"), ("spawn_linked", "fail", "pid.link.down"),
    ("spawn_linked_monitored", "value", "pid.exit"),
])  # fmt: skip
def test_spawn_from_a_function_watches_as_asked(client: Client, verb: str, how: str, kind: str) -> None:
    event = client.call(watch, verb, how, 3, timeout=10)
    wanted: dict[str, Any] = {"same": True, "kind": kind}
    wanted |= {"value": 3} if how == "value" else {"error": {"kind": "NotFound", "message": "no", "retryable": False}}
    assert event == wanted


@pytest.mark.parametrize(("verb", "kind"), [("monitor", "pid.exit"), ("link", "pid.link.down")])
def test_a_function_watches_long_after_the_start(client: Client, verb: str, kind: str) -> None:
    event = client.call(later, verb, "terminate", "wait", timeout=10)
    assert event == {
        "kind": kind, "error": {"kind": "Canceled", "message": "workflow terminated", "retryable": False},
    }  # fmt: skip
    assert client.call(later, verb, "cancel", "obey", timeout=10)["error"]["message"] == "enough"


@pytest.mark.parametrize(("verb", "undo"), [("monitor", "unmonitor"), ("link", "unlink")])
def test_after_unmonitor_and_unlink_nothing_arrives(client: Client, verb: str, undo: str) -> None:
    assert client.call(no_longer, verb, undo, timeout=10) is True


def test_a_link_that_is_not_trapped_ends_the_function(client: Client) -> None:
    from orchestration.errors import ApplicationError

    with pytest.raises(ApplicationError, match="linked process failed"):
        client.call(untrapped, timeout=10)


def test_a_function_sends_and_the_workflow_knows_who(client: Client) -> None:
    found = client.call(talk, timeout=10)
    assert found["ok"] is True
    assert found["value"] == {"topic": "hello", "from": found["me"], "data": {"n": 1}}
    assert (found["late"]["kind"], found["late"]["retryable"]) == ("NotFound", False)


def test_what_is_not_there_is_said(client: Client) -> None:
    found = client.call(missing, timeout=10)
    assert {error["kind"] for error in found.values()} == {"NotFound"}
    assert "could not resolve 'no-name'" in found["send"]["message"]


def test_the_same_name_is_the_same_workflow_and_all_messages_reach_it(client: Client) -> None:
    found = client.call(named, timeout=10)
    assert (found["same"], found["conflict"]) == (True, "AlreadyExists")
    handle = client.get_by_pid(found["pid"])
    assert handle.id == "by-name"
    assert handle.result(timeout=10) == ["first", "second"]


def test_python_code_executes_finds_by_address_and_sends(client: Client) -> None:
    assert client.execute_workflow(answer, "value", 1, timeout=10) == 1
    handle = client.start_workflow(answer, "wait")
    client.send(handle.pid, "hi", "there")
    assert client.get_by_pid(handle.pid).result(timeout=10) == {"topic": "hi", "from": "", "data": "there"}
    with pytest.raises(WorkflowNotFoundError, match="is no address"):
        client.get_by_pid("nobody")
