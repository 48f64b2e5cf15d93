"""Child workflows: started, awaited, watched, and what becomes of them when their parent ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration import Client, WorkflowHandle
from orchestration.errors import WorkflowFailedError, WorkflowNotFoundError
from tests.support import wait_until
from tests.support.projects import Project, deployed

project = Project(tasks=["tests.acceptance.tasks"])
MODULES = ("funcs", "time", "json", "uuid", "workflow", "ctx", "errors")

project.entry("client", "celery.client")
project.entry("worker", "celery.worker", client="app:client", task_queue="shop")
project.entry("elsewhere", "celery.worker", client="app:client", task_queue="elsewhere")
OURS = {"meta": {"temporal": {"workflow": {"worker": "app:worker"}}}}

child = project.workflow(
    "child",
    """
    local errors = require("errors")
    local ctx = require("ctx")
    local function main(how, value)
        if how == "fail" then
            local facts = { message = "no: " .. value, kind = "NotFound", retryable = false, details = { a = 1 } }
            return nil, errors.new(facts)
        elseif how == "raise" then
            error("boom")
        elseif how == "wait" then
            local msg = process.inbox():receive()
            return { topic = msg:topic(), from = msg:from(), data = msg:payload():data() }
        end
        return { value = value, tenant = ctx.get("tenant") }
    end
    return main
    """,
    **OURS,
)

obedient = project.workflow(
    "obedient",
    """
    local errors = require("errors")
    local function main()
        local event = process.events():receive()
        return nil, errors.new { message = "stopped: " .. event.reason, kind = "Canceled" }
    end
    return main
    """,
    **OURS,
)

parent = project.workflow(
    "parent",
    """
    local workflow = require("workflow")
    local function plain(err)
        return err and {
            kind = err:kind(), message = err:message(), retryable = err:retryable(), details = err:details(),
        }
    end
    local function main(how, verb, ...)
        if verb == "workflow.exec" then
            local value, err = workflow.exec("app:child", how, ...)
            return { value = value, error = plain(err) }
        elseif verb == "exec" then
            local value, err = process.exec("app:child", "app:worker", how, ...)
            return { value = value, error = plain(err) }
        end
        local events = process.events()
        local pid, problem = process[verb]("app:child", "app:worker", how, ...)
        if not pid then return { refused = plain(problem) } end
        local event = events:receive()
        return {
            same = event.from == pid, kind = event.kind, value = event.result.value, error = plain(event.result.error),
            at = math.type(event.at),
        }
    end
    return main
    """,
    **OURS,
)

start = project.workflow(
    "start",
    """
    local function main(options, entry, host, messages, wait)
        local builder = process.with_options(options or {})
        for _, message in ipairs(messages or {}) do builder = builder:with_message(message[1], message[2]) end
        local pid, err = builder:spawn(entry, host or "")
        if err then return { error = { kind = err:kind(), message = err:message() } } end
        if wait == "signal" then process.inbox():receive() end
        if wait == "exit" then
            local event = process.events():receive()
            return { pid = pid, value = event.result.value, from = event.from }
        end
        if wait == "fail" then error("the parent fails") end
        return { pid = pid }
    end
    return main
    """,
    **OURS,
)

everything = project.workflow(
    "everything",
    """
    local funcs = require("funcs")
    local time = require("time")
    local errors = require("errors")
    local workflow = require("workflow")

    local function main()
        local done = channel.new(3)
        local ended = {}
        local function branch(name, wait)
            coroutine.spawn(function()
                local inner = channel.new()
                coroutine.spawn(function()
                    local _, err = wait()
                    inner:send(err and err:kind() or "none")
                end)
                ended[name] = inner:receive()
                done:send(true)
            end)
        end
        branch("activity", function() return funcs.call("app:slow", "nested", 20) end)
        branch("timer", function() return time.sleep("1h") end)
        branch("child", function() return process.exec("app:obedient", "app:worker") end)
        local event = process.events():receive()
        workflow.cancel_pending()
        for _ = 1, 3 do done:receive() end
        ended.cleanup = funcs.call("app:echo", "cleaned up")
        return nil, errors.new { message = event.reason, kind = "Canceled", details = ended }
    end
    return main
    """,
    **OURS,
)

project.celery_task("slow", "accept.sleeps")
project.celery_task("echo", "accept.echo")


def opened(handle: WorkflowHandle) -> bool:
    try:
        return handle.describe().closed_ms == 0
    except WorkflowNotFoundError:
        return False


@pytest.mark.parametrize("verb", ["spawn", "spawn_monitored", "spawn_linked", "spawn_linked_monitored"])
def test_every_spawn_in_a_workflow_brings_an_exit_event_with_the_value(client: Client, verb: str) -> None:
    result = client.execute_workflow(parent, "ok", verb, 5, context={"tenant": "t"}, timeout=10)
    assert result == {"same": True, "kind": "pid.exit", "value": {"value": 5, "tenant": "t"}, "at": "integer"}


def test_exit_events_carry_the_kind_and_details_of_the_error(client: Client) -> None:
    error = client.execute_workflow(parent, "fail", "spawn", "x", timeout=10)["error"]
    assert (error["kind"], error["message"], error["retryable"]) == ("NotFound", "no: x", False)
    details = error["details"]
    assert (details["a"], details["_wrapper"], details["_workflow_type"]) == (1, "child_workflow", child)
    assert details["_retry_state"] == "retry_policy_not_set"
    assert client.get_workflow(details["_workflow_id"], details["_run_id"]).describe().status == "failed"


@pytest.mark.parametrize("verb", ["exec", "workflow.exec"])
def test_exec_waits_for_the_value_or_the_error(client: Client, verb: str) -> None:
    assert client.execute_workflow(parent, "ok", verb, 7, timeout=10) == {"value": {"value": 7}}
    error = client.execute_workflow(parent, "raise", verb, timeout=10)["error"]
    assert error["kind"] == "Internal"
    assert "boom" in error["message"]


@pytest.mark.parametrize(("policy", "status"), [(None, "terminated"), ("terminate", "terminated"),
                                                ("request_cancel", "cancelled"), ("abandon", "running")])  # fmt: skip
@pytest.mark.parametrize("how", ["completes", "terminated"])
def test_a_parent_close_policy_decides_about_children(
    client: Client, policy: str | None, status: str, how: str
) -> None:
    child_id = f"orphan-{policy}-{how}"
    options = {"workflow.id": child_id, **({"workflow.parent_close_policy": policy} if policy else {})}
    handle = client.start_workflow(start, options, obedient, "", [], "signal")
    orphan = client.get_workflow(child_id)
    wait_until(lambda: opened(orphan), message="the child has started")
    if how == "completes":
        handle.signal("go")
        handle.result(timeout=10)
    else:
        handle.terminate()
    if status == "running":
        wait_until(lambda: handle.describe().closed_ms, message="the parent has ended")
        assert orphan.describe().status == "running"
        orphan.terminate()
    else:
        wait_until(lambda: orphan.describe().status == status, message=f"the child is {status}")


def test_a_child_keeps_the_start_options_of_both_prefixes(client: Client) -> None:
    options = {
        "temporal.workflow.id": "with-options", "workflow.memo": {"m": [1]}, "workflow.search_attributes": {"s": "v"},
        "temporal.workflow.static_summary": "a line", "workflow.details": "more", "workflow.run_timeout": "1h",
        "workflow.execution_timeout": 7_200_000, "temporal.workflow.parent_close_policy": "ABANDON",
    }  # fmt: skip
    client.execute_workflow(start, options, child, "app:worker", timeout=10)
    description = client.get_workflow("with-options").describe()
    assert (description.memo, description.search) == ({"m": [1]}, {"s": "v"})
    assert (description.summary, description.details) == ("a line", "more")
    assert description.deadline_ms - description.started_ms == 7_200_000


def test_a_child_that_is_retried_answers_once(client: Client) -> None:
    options = {"workflow.retry_policy": {"initial_interval": 10, "maximum_attempts": 2}, "workflow.id": "retried"}
    result = client.execute_workflow(start, options, "app:obedient", "", [["x", 1]], "", timeout=10)
    assert result["pid"].endswith("|retried}")
    handle = client.start_workflow(
        start, {"workflow.id": "retried-2", "workflow.retry_policy": {"initialInterval": 10, "maximumAttempts": 2}},
        "app:failing", "", [], "exit",
    )  # fmt: skip
    assert handle.result(timeout=10)["pid"].endswith("|retried-2}")
    assert client.get_workflow("retried-2").describe().attempt == 2


project.workflow("failing", 'return { main = function() error("always") end }', **OURS)


def test_startup_messages_come_first_and_name_the_spawner(client: Client) -> None:
    waiting = project_child = "app:first_message"
    handle = client.start_workflow(start, {}, waiting, "", [["hello", {"n": 1}], ["later", 2]], "exit")
    value = handle.result(timeout=10)["value"]
    assert value == {"topic": "hello", "from": handle.pid, "n": 1, "next": "later"}
    assert project_child == waiting


project.workflow(
    "first_message",
    """
    local function main()
        local inbox = process.inbox()
        local a, b = inbox:receive(), inbox:receive()
        return { topic = a:topic(), from = a:from(), n = a:payload():data().n, next = b:topic() }
    end
    return main
    """,
    **OURS,
)


def test_a_named_start_that_finds_a_run_signals_and_monitors_it(client: Client) -> None:
    existing = client.start_workflow("app:first_message", id="shared")
    existing.signal("from-outside", {"n": 9})
    handle = client.start_workflow(start, {"workflow.id": "shared"}, "app:first_message", "", [["hi", 1]], "exit")
    assert handle.result(timeout=10)["value"]["next"] == "hi"
    assert existing.result(timeout=10)["topic"] == "from-outside"
    for options, kind in (
        ({"workflow.id": "shared-2", "workflow.id_conflict_policy": "fail"}, "AlreadyExists"),
        ({"workflow.id": "shared-2", "workflow.execution_error_when_already_started": True}, "AlreadyExists"),
        ({"workflow.id": "shared-2", "workflow.id_reuse_policy": "terminate_if_running"}, None),
    ):
        if kind:
            first_one = client.start_workflow(obedient, id="shared-2", id_conflict_policy="use_existing")
        result = client.execute_workflow(start, options, obedient, "", timeout=10)
        assert result.get("error", {}).get("kind") == kind
    with pytest.raises(WorkflowFailedError, match="terminated"):
        first_one.result(timeout=10)


def test_a_start_of_an_unknown_type_without_a_queue_of_its_own_is_not_noticed(client: Client) -> None:
    """The worker of the queue may know it: it parks there when it does not."""
    handle = client.start_workflow(start, {"workflow.id": "unknown"}, "app:nobody", "", [], "signal")
    unknown = client.get_workflow("unknown")
    wait_until(lambda: opened(unknown) and unknown.describe().status == "parked", message="parked")
    assert "know no workflow 'app:nobody'" in unknown.describe().parked
    handle.terminate()
    wait_until(lambda: unknown.describe().status == "terminated", message="its child too")


def test_a_child_runs_where_only_its_queue_is_known(redis_url: str, tmp_path: Path) -> None:
    here, there = Project("here"), Project("there")
    here.entry("client", "celery.client")
    here.entry("worker", "celery.worker", client="here:client", task_queue="here")
    here.entry("elsewhere", "celery.worker", client="here:client", task_queue="elsewhere")
    source = """
        local function main(host)
            local value, err = process.exec("there:greet", host)
            return err and err:message() or value
        end
        return main
    """
    here.workflow("caller", source, meta={"temporal": {"workflow": {"worker": "here:worker"}}})
    there.entry("client", "celery.client")
    there.entry("worker", "celery.worker", client="there:client", task_queue="elsewhere")
    there.workflow("greet", 'return { main = function() return "from the other deployment" end }')
    with deployed(here, tmp_path, redis_url) as deployment:
        deployment.worker(queues=["here"])
        deployment.worker(config=there.write(tmp_path / "there"), queues=["elsewhere"])
        for host in ("here:elsewhere", "elsewhere"):
            assert deployment.client.execute_workflow("here:caller", host, timeout=20) == "from the other deployment"
        direct = deployment.client.start_workflow("there:greet", task_queue="elsewhere")
        assert direct.result(timeout=20) == "from the other deployment"
        assert direct.describe().bundle


def test_cancelling_a_workflow_that_waits_in_nested_coroutines(client: Client) -> None:
    handle = client.start_workflow(everything, id="all-of-it")

    def waiting() -> bool:
        description = handle.describe()
        kinds = {place.waits_for.split()[0] for place in description.places}
        activity = any(item.state == "claimed" for item in description.pending)
        return activity and {"funcs.call", "time.sleep", "process.exec", "events:receive"} <= kinds

    wait_until(waiting, message="all three are waited for")
    handle.cancel("no longer needed")
    with pytest.raises(WorkflowFailedError, match="no longer needed") as caught:
        handle.result(timeout=15)
    details = caught.value.details
    assert {name: details[name] for name in ("activity", "timer", "child", "cleanup")} == {
        "activity": "Canceled", "timer": "Canceled", "child": "Canceled", "cleanup": "cleaned up",
    }  # fmt: skip
    assert handle.describe().status == "cancelled"
    names = [type(event).__name__ for event in handle.history()]
    assert {"CancelActivity", "CancelTimer", "CancelExternal"} <= set(names)


speaker = project.workflow(
    "speaker",
    """
    local function plain(err)
        return err and { kind = err:kind(), retryable = err:retryable(), message = err:message() }
    end
    local function main(verb, pid, ...)
        local ok, err = process[verb](pid, ...)
        return { ok = ok, me = process.pid(), error = plain(err) }
    end
    return main
    """,
    **OURS,
)


def test_a_workflow_signals_another_and_is_named_as_the_sender(client: Client) -> None:
    listening = client.start_workflow(child, "wait")
    said = client.execute_workflow(speaker, "send", listening.pid, "hello", {"n": 1}, timeout=10)
    assert said["ok"] is True
    assert listening.result(timeout=10) == {"topic": "hello", "from": said["me"], "data": {"n": 1}}


def test_a_signal_to_what_is_not_there_is_not_found(client: Client) -> None:
    ended = client.start_workflow(child, "value", 1)
    ended.result(timeout=10)
    for pid in (ended.pid, "{app:client@app:worker|nobody}", "app:client@app:worker|no-braces"):
        error = client.execute_workflow(speaker, "send", pid, "hello", timeout=10)["error"]
        assert (error["kind"], error["retryable"]) == ("NotFound", False)
        assert pid.strip("{}").split("|")[1] in error["message"]


def test_a_workflow_cancels_another_with_its_reason(client: Client) -> None:
    other = client.start_workflow(obedient)
    assert client.execute_workflow(speaker, "cancel", other.pid, "enough of it", timeout=10)["ok"] is True
    with pytest.raises(WorkflowFailedError, match="stopped: enough of it"):
        other.result(timeout=10)


def test_a_workflow_terminates_another_at_once(client: Client) -> None:
    other = client.start_workflow(obedient)
    assert client.execute_workflow(speaker, "terminate", other.pid, timeout=10)["ok"] is True
    with pytest.raises(WorkflowFailedError, match="workflow terminated"):
        other.result(timeout=10)


def test_a_childs_queue_is_its_hosts_then_the_options_then_its_parents(client: Client) -> None:
    for host, options, queue in (
        ("app:elsewhere", {"workflow.task_queue": "ignored"}, "elsewhere"),
        ("by-name", {"workflow.task_queue": "ignored"}, "by-name"),
        ("", {"workflow.task_queue": "wanted"}, "wanted"),
        ("", {}, "shop"),
    ):
        child_id = f"queue-{queue}"
        given = {**options, "workflow.id": child_id, "workflow.parent_close_policy": "abandon"}
        client.execute_workflow(start, given, obedient, host, timeout=10)
        found = client.get_workflow(child_id)
        assert found.describe().task_queue == queue
        found.terminate()


def test_a_childs_id_is_made_from_its_parents_run(client: Client) -> None:
    handle = client.start_workflow(start, {}, child, "app:worker", [], "exit")
    assert f"|{handle.run_id}_1}}" in handle.result(timeout=10)["pid"]


def test_a_child_lives_in_its_parents_namespace(client: Client) -> None:
    """A parent could not be told of the end of a child in another one."""
    result = client.execute_workflow(start, {"workflow.namespace": "other"}, child, "", timeout=10)
    assert result["error"]["kind"] == "Invalid"
    assert "'other'" in result["error"]["message"]
    assert client.execute_workflow(start, {"workflow.namespace": "default"}, child, "", timeout=10)["pid"]
