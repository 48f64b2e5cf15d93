"""Functions and Python code start, watch, signal and end workflows."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration import Client
from orchestration.errors import WorkflowNotFoundError, WorkflowTerminatedError
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
        if how == "again" then process.upgrade(nil, "context", value) end
        if how == "context" then return { value = value, a = require("ctx").get("a") } end
        if how == "event" then
            local event = process.events():receive()
            return { kind = event.kind, from = event.from, reason = event.reason, at = math.type(event.at) }
        end
        if how == "tally" then
            local increments, finish, total = process.listen("increment"), process.listen("finish"), value
            while true do
                local picked = channel.select { increments:case_receive(), finish:case_receive() }
                if picked.channel == finish then return total end
                total = total + picked.value
            end
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


begin = function("begin", """
    local how, options, more = ...
    local builder = process.with_options(options):with_context({ a = 1 })
    if more.name then builder = builder:with_name(more.name) end
    for _, message in ipairs(more.messages or {}) do builder = builder:with_message(message[1], message[2]) end
    local events = process.events()
    local pid, err = builder[more.verb or "spawn"](builder, "app:answer", more.host or "", how, 4)
    if err then return { none = pid == nil, error = plain(err) } end
    for _, message in ipairs(more.later or {}) do process.send(pid, message[1], message[2]) end
    if more.stop == "terminate" then process.terminate(pid) end
    if more.stop == "cancel" then process.cancel(pid, "enough") end
    if more.watch then
        time.sleep("100ms")
        for _ = 1, 2 do assert(process[more.watch](pid)) end
    end
    if more.verb or more.watch then
        local event = events:receive()
        return { pid = pid, me = process.pid(), kind = event.kind, same = event.from == pid, value = event.result.value,
            error = plain(event.result.error), quiet = nothing_within(events, "50ms") }
    end
    return { pid = pid }
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
    assert found["send"]["kind"] == "NotFound"
    assert {found[verb]["kind"] for verb in ("monitor", "link", "cancel", "terminate")} == {"Internal"}
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


def test_the_id_option_wins_over_the_name_and_without_both_an_id_is_made(client: Client) -> None:
    given = {"workflow.id": "the-option"}
    assert client.get_by_pid(client.call(begin, "wait", given, {"name": "x"}, timeout=10)["pid"]).id == "the-option"
    named_pid = client.call(begin, "wait", {}, {"name": "the-name"}, timeout=10)["pid"]
    assert client.get_by_pid(named_pid).id == "the-name"
    one, two = (client.call(begin, "wait", {}, {}, timeout=10)["pid"] for _ in range(2))
    assert one != two
    for pid in (named_pid, one, two):
        client.get_by_pid(pid).terminate()
    client.get_workflow("the-option").terminate()


def test_a_start_from_a_function_keeps_its_options(client: Client) -> None:
    options = {
        "workflow.id": "all-options", "workflow.memo": {"m": [1]}, "temporal.workflow.summary": "a line",
        "workflow.search_attributes": {"word": "v", "flag": True, "count": 3, "share": 0.5, "many": ["a", "b"]},
        "workflow.details": "more", "workflow.execution_timeout": "2h", "workflow.task_timeout": "10s",
        "workflow.enable_eager_start": True, "workflow.priority": {"key": 1},
        "workflow.id_reuse_policy": "ALLOW-DUPLICATE",
        "workflow.task_queue": "nobody-listens", "workflow.start_delay": "1h",
    }  # fmt: skip
    assert client.call(begin, "value", options, {}, timeout=10)["pid"]
    found = client.get_workflow("all-options").describe()
    assert (found.memo, found.summary, found.details) == ({"m": [1]}, "a line", "more")
    assert found.search == {"word": "v", "flag": True, "count": 3, "share": 0.5, "many": ["a", "b"]}
    assert (found.task_queue, found.starts_ms - found.started_ms) == ("nobody-listens", 3_600_000)
    assert found.deadline_ms > found.started_ms
    client.get_workflow("all-options").terminate()


def test_a_start_needs_no_worker_and_does_not_notice_a_type_that_is_unknown(client: Client) -> None:
    found = client.call(begin, "wait", {"workflow.id": "unserved"}, {"host": "nobody-listens"}, timeout=10)
    handle = client.get_by_pid(found["pid"])
    assert (handle.describe().status, handle.describe().task_queue) == ("running", "nobody-listens")
    handle.terminate()


def test_startup_messages_come_before_what_is_sent_after_the_spawn(client: Client) -> None:
    messages = [["increment", 1]] * 3
    found = client.call(begin, "tally", {}, {"messages": messages, "later": [["finish", 0]]}, timeout=10)
    assert client.get_by_pid(found["pid"]).result(timeout=10) == 7


@pytest.mark.parametrize(
    "given", [{"workflow.id": "held"}, {"workflow.id": "held", "workflow.id_conflict_policy": "use_existing"}]
)
def test_a_start_that_uses_an_existing_run_gets_its_address_and_delivers_its_messages(
    client: Client, given: dict[str, Any]
) -> None:
    existing = client.start_workflow(answer, "tally", 100, id="held", memo={"first": True})
    more = {"messages": [["increment", 1], ["increment", 2]], "later": [["finish", 0]], "verb": "spawn_monitored"}
    found = client.call(begin, "value", {**given, "workflow.memo": {"second": True}}, more, timeout=10)
    assert (found["pid"], found["kind"], found["value"]) == (existing.pid, "pid.exit", 103), "and watches that run"
    assert existing.describe().memo == {"first": True}


@pytest.mark.parametrize(
    "given", [{"workflow.id_conflict_policy": "fail"}, {"workflow.execution_error_when_already_started": True}]
)
def test_a_start_that_fails_leaves_the_existing_run_untouched(client: Client, given: dict[str, Any]) -> None:
    existing = client.start_workflow(answer, "tally", 100, id="untouched")
    more = {"messages": [["increment", 1]]}
    found = client.call(begin, "value", {"workflow.id": "untouched", **given}, more, timeout=10)
    assert (found["none"], found["error"]["kind"], found["error"]["retryable"]) == (True, "AlreadyExists", False)
    assert found["error"]["message"]
    existing.signal("finish", 0)
    assert existing.result(timeout=10) == 100


def test_a_start_that_terminates_the_existing_run_begins_another(client: Client) -> None:
    existing = client.start_workflow(answer, "wait", id="replaced")
    given = {"workflow.id": "replaced", "workflow.id_conflict_policy": "TERMINATE_EXISTING"}
    found = client.call(begin, "value", given, {"verb": "spawn_monitored"}, timeout=10)
    assert found["value"] == 4
    with pytest.raises(WorkflowTerminatedError):
        existing.result(timeout=10)


@pytest.mark.parametrize("watch_as", [{"verb": "spawn_monitored"}, {"watch": "monitor"}])
def test_terminated_right_after_the_start_is_an_exit_with_the_error(client: Client, watch_as: dict[str, str]) -> None:
    found = client.call(begin, "wait", {}, {"stop": "terminate", **watch_as}, timeout=10)
    assert (found["kind"], found["same"]) == ("pid.exit", True)
    assert found["error"] == {"kind": "Canceled", "message": "workflow terminated", "retryable": False}


@pytest.mark.parametrize("verb", ["monitor", "link"])
def test_watching_a_workflow_that_has_ended_gives_its_result_at_once_and_once(client: Client, verb: str) -> None:
    found = client.call(begin, "value", {}, {"watch": verb}, timeout=10)
    assert (found["kind"], found["value"], found["quiet"]) == ("pid.exit", 4, True)


def test_a_cancel_is_an_event_with_its_reason_and_requester_and_the_run_completes(client: Client) -> None:
    found = client.call(begin, "event", {}, {"stop": "cancel", "verb": "spawn_monitored"}, timeout=10)
    assert found["value"] == {"kind": "pid.cancel", "from": found["me"], "reason": "enough", "at": "integer"}
    assert client.get_by_pid(found["pid"]).describe().status == "completed"


def test_an_address_names_the_client_the_worker_and_the_workflow(client: Client) -> None:
    handle = client.start_workflow(answer, "value", 1, id="my address")
    assert handle.pid == "{celery@default|my address}"
    handle.result(timeout=10)


def test_a_monitor_and_the_context_follow_a_workflow_that_continues_as_new(client: Client) -> None:
    found = client.call(begin, "again", {}, {"verb": "spawn_monitored"}, timeout=10)
    assert (found["kind"], found["same"], found["value"]) == ("pid.exit", True, {"value": 4, "a": 1})
