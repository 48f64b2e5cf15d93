"""Bad input of every kind: one clear error, and nothing half-done."""

from __future__ import annotations

import threading
import time

import pytest
from celery import Celery
from celery.exceptions import NotRegistered

from orchestration import Client, Orchestration
from orchestration.embedded import EmbeddedRedis
from orchestration.errors import (
    EncodeError,
    EntryNotFoundError,
    PayloadTooLargeError,
    RegistryError,
    StoreUnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowClosedError,
    WorkflowFailedError,
    WorkflowNotFoundError,
    WorkflowTerminatedError,
)
from tests.support import wait_until
from tests.support.projects import Project, deployed

TOO_LARGE = "limit|more than"
project = Project(
    tasks=["tests.acceptance.tasks"], env={"ORCHESTRATION_PAYLOAD_BYTES": "20000"}, settings={"payload_bytes": 20_000}
)
for task in ("add", "echo", "uncarried", "bytes", "sleeps"):
    project.celery_task(task, f"accept.{task}")

wait = project.workflow(
    "wait",
    """
    local function main() return process.listen("go"):receive() end
    return main
    """,
)
call = project.workflow(
    "call",
    """
    local funcs = require("funcs")
    local function main(target, options, ...)
        return funcs.new():with_options(options):call(target, ...)
    end
    return main
    """,
)
large = project.workflow(
    "large",
    """
    local funcs = require("funcs")
    local function main(how, n)
        local text = ("x"):rep(n)
        if how == "result" then return text end
        if how == "argument" then return funcs.call("app:echo", text) end
        return { [1] = "a", [5] = "b" }
    end
    return main
    """,
)
no_method = project.lua(
    "no_method", "workflow.lua", "return { other = function() end }", method="main", modules=[]
)
project.lua("no_method_f", "function.lua", "return { other = function() end }", method="main", modules=[])

steps = project.workflow(
    "steps",
    """
    local funcs, time = require("funcs"), require("time")
    local function main(n)
        local total = 0
        for i = 1, n do
            total = funcs.call("app:add", total, i)
            time.sleep("50ms")
        end
        return total
    end
    return main
    """,
)


def failure(handle):
    with pytest.raises(WorkflowFailedError) as caught:
        handle.result(timeout=20)
    return caught.value


def counted(client):
    return client.count_workflows()


# Ids and definitions -------------------------------------------------------------------------------------------------


def test_an_unknown_entry(running):
    before = counted(running.client)
    with pytest.raises(EntryNotFoundError, match=r"app:wayt.*app:wait"):
        running.client.start_workflow("app:wayt")
    with pytest.raises(EntryNotFoundError, match=r"app:add.*function\.celery, not a workflow"):
        running.client.start_workflow("app:add")
    with pytest.raises(NotRegistered, match="app:wayt"):  # to Celery it is a task like any other
        running.app.send_task("app:wayt").get(timeout=10)
    with pytest.raises(WorkflowNotFoundError, match="nobody"):
        running.client.get_workflow("nobody").describe()
    assert counted(running.client) == before


def test_all_mistakes_of_a_tree_are_told_at_once(tmp_path, redis_url):
    bad = Project()
    bad.file(
        "bad.yaml",
        'version: "1.0"\nnamespace: app\nentries:\n'
        "  - name: one\n    kind: workflow.luaa\n    source: file://one.lua\n    method: main\n"
        "  - name: two\n    kind: function.celery\n"
        "  - name: three\n    kind: workflow.lua\n    source: file://three.lua\n    method: main\n"
        "    modules: [funcs]\n",
    )
    bad.file("one.lua", "return function() end")
    bad.file("three.lua", "local x = \nreturn x +")
    with pytest.raises(RegistryError) as caught, deployed(bad, tmp_path, redis_url) as deployment:
        deployment.app.send_task("app:three")
    text = str(caught.value)
    assert "3 problems" in text
    for part in ("bad.yaml:5: entry app:one", "workflow.luaa", "entry app:two", "'task'", "three.lua:2: entry app:thr"):
        assert part in text


def test_a_worker_with_bad_definitions_says_so_and_does_not_start(tmp_path, redis_url):
    bad = Project()
    bad.workflow("broken", "local function main( return 1 end\nreturn main")
    with deployed(bad, tmp_path, redis_url) as deployment, pytest.raises(AssertionError, match=r"broken\.lua:1"):
        deployment.worker()


def test_a_method_that_the_chunk_has_not_got(client):
    error = failure(client.start_workflow(no_method))
    assert (error.kind, error.retryable) == ("NotFound", False)
    assert 'method "main" not found' in error.message
    with pytest.raises(Exception, match='method "main" not found'):
        client.call("app:no_method_f", timeout=10)


# Values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "place"), [("set", "value"), ("object", r"value\.deep\[0\]"), ("key", "value"), ("large", "value")]
)
def test_an_activity_that_returns_what_cannot_be_carried(client, what, place):
    error = failure(client.start_workflow(call, "app:uncarried", {}, what))
    assert (error.kind, error.retryable) == ("Invalid", False)
    assert "the result of app:uncarried cannot be carried" in error.message
    assert place.replace("\\", "") in error.message


def test_payloads_above_the_limit(running, tmp_path):
    app = Celery("small", broker=running.redis_url, backend=running.redis_url, set_as_current=False)
    Orchestration(app, config=str(running.config), payload_bytes=20_000)
    client, before = Client(app), counted(running.client)
    with pytest.raises(PayloadTooLargeError, match=TOO_LARGE):
        client.start_workflow(wait, "x" * 30_000)
    with pytest.raises(PayloadTooLargeError, match=TOO_LARGE):
        app.send_task(wait, args=["x" * 30_000])
    assert counted(running.client) == before
    handle = client.start_workflow(wait)
    with pytest.raises(PayloadTooLargeError, match=TOO_LARGE):
        handle.signal("go", "x" * 30_000)
    handle.signal("go", "small")
    assert handle.result(timeout=10) == "small"
    app.close()


def test_payloads_above_the_limit_inside(client):
    for how, n in (("result", 30_000), ("argument", 30_000)):
        error = failure(client.start_workflow(large, how, n))
        assert "the limit is 20000" in error.message
        assert error.retryable is False
    error = failure(client.start_workflow(call, "app:bytes", {}, 30_000))
    assert error.retryable is False
    assert "20000" in error.message or "20,000" in error.message


def test_a_result_that_lua_cannot_hand_over(client):
    error = failure(client.start_workflow(large, "sparse", 1))
    assert "failed to encode result" in error.message
    assert "sparse array" in error.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activity.start_to_close_timeout": True}, "start_to_close_timeout"),
        ({"activity.start_to_close_timeout": "soon"}, "start_to_close_timeout"),
        ({"activity.retry_policy": "often"}, "retry_policy"),
        ({"activity.retry_policy": {"maximum_attempts": "three"}}, "maximum_attempts"),
        ({"activity.task_queue": 7}, "task_queue"),
    ],
    ids=str,
)
def test_options_of_the_wrong_type(client, options, words):
    error = failure(client.start_workflow(call, "app:add", options, 1, 2))
    assert error.kind == "Invalid"
    assert "invalid temporal activity options for app:add" in error.message
    assert words in error.message


def test_arguments_of_the_client_of_the_wrong_type(client):
    before = counted(client)
    with pytest.raises(ValueError, match=r"conflict policy 'maybe'.*use_existing"):
        client.start_workflow(wait, id_conflict_policy="maybe")
    with pytest.raises(ValueError, match=r"reuse policy 'sometimes'.*reject_duplicate"):
        client.start_workflow(wait, id_reuse_policy="sometimes")
    with pytest.raises(EncodeError, match=r"\[0\]\.when"):
        client.start_workflow(wait, {"when": threading.Event()})
    assert counted(client) == before


# The same id twice ---------------------------------------------------------------------------------------------------


def test_an_id_that_is_taken_under_each_conflict_policy(client):
    first = client.start_workflow(wait, id="taken")
    with pytest.raises(WorkflowAlreadyStartedError, match=rf"'taken'.*{first.run_id}"):
        client.start_workflow(wait, id="taken", id_conflict_policy="fail")
    assert client.start_workflow(wait, id="taken", id_conflict_policy="use_existing").run_id == first.run_id
    assert first.describe().status == "running"
    second = client.start_workflow(wait, id="taken", id_conflict_policy="terminate_existing")
    assert second.run_id != first.run_id
    with pytest.raises(WorkflowTerminatedError):
        first.result(timeout=10)
    second.signal("go", 1)
    assert client.get_workflow("taken").result(timeout=10) == 1


def test_an_id_that_was_used_under_each_reuse_policy(client):
    done = client.start_workflow(wait, id="used", signals=[("go", [1])])
    assert done.result(timeout=10) == 1
    for policy in ("reject_duplicate", "allow_duplicate_failed_only"):
        with pytest.raises(WorkflowAlreadyStartedError, match="'used'"):
            client.start_workflow(wait, id="used", id_reuse_policy=policy)
    failed = client.start_workflow(wait, id="used", id_reuse_policy="allow_duplicate")
    failed.terminate("no good")
    again = client.start_workflow(
        wait, id="used", id_reuse_policy="allow_duplicate_failed_only", signals=[("go", [2])]
    )
    assert again.result(timeout=10) == 2
    assert done.result(timeout=10) == 1


def test_the_same_request_starts_one_run(running):
    client = running.client
    first = client.start_workflow(wait, id="request", request_id="r-1", signals=[("go", [1])])
    assert client.start_workflow(wait, id="request", request_id="r-1").run_id == first.run_id
    assert first.result(timeout=10) == 1
    assert client.start_workflow(wait, id="request", request_id="r-1").run_id == first.run_id
    task = running.app.tasks[wait]
    for _ in range(3):
        task.apply_async(task_id="the-task")
    client.get_workflow("the-task").signal("go", 7)
    assert running.app.AsyncResult("the-task").get(timeout=10) == 7


@pytest.mark.parametrize("act", ["signal", "cancel", "terminate", "retry"])
def test_a_run_that_has_ended_takes_nothing(client, act):
    handle = client.start_workflow(wait, signals=[("go", [1])])
    handle.result(timeout=10)
    before = list(handle.raw_history())
    arguments = {"signal": ("go", 2), "retry": ()}.get(act, ("why",))
    with pytest.raises(WorkflowClosedError, match="completed"):
        getattr(handle, act)(*arguments)
    assert list(handle.raw_history()) == before


# Redis ---------------------------------------------------------------------------------------------------------------


def away_client(project, folder, url, timeout):
    return deployed(project, folder, url, start_timeout_ms=timeout)


def test_redis_away_at_a_clients_call_is_waited_for_then_said(tmp_path):
    with EmbeddedRedis() as server, away_client(project, tmp_path, server.url, 1000) as deployment:
        server.kill()
        begun = time.monotonic()
        with pytest.raises(StoreUnavailableError, match=r"no reply from Redis at 127\.0\.0\.1.*for 1 s") as caught:
            deployment.client.start_workflow(wait)
        assert 0.3 <= time.monotonic() - begun < 10
        assert "@" not in str(caught.value)  # no password
        server.start()
        deployment.client.start_workflow(wait, id="later")
        assert deployment.client.get_workflow("later").describe().status == "running"


def test_redis_comes_back_while_a_client_waits(tmp_path):
    with EmbeddedRedis() as server, away_client(project, tmp_path, server.url, 20_000) as deployment:
        deployment.client.count_workflows()
        server.kill()
        timer = threading.Timer(1.0, server.start)
        timer.start()
        handle = deployment.client.start_workflow(wait, id="patient")
        timer.join()
        assert handle.describe().status == "running"


def test_redis_away_in_the_middle(tmp_path):
    with EmbeddedRedis(appendfsync="always") as server, deployed(project, tmp_path, server.url) as deployment:
        worker = deployment.worker()
        handles = [deployment.client.start_workflow(steps, 12) for _ in range(3)]
        wait_until(lambda: handles[0].describe().history_length > 8, message="half way")
        server.kill()
        wait_until(lambda: "trying again" in worker.log() or "Connection" in worker.log(), message="the worker notices")
        server.start()
        assert [handle.result(timeout=60) for handle in handles] == [78, 78, 78]
        assert worker.is_running


# Code and history ----------------------------------------------------------------------------------------------------


def test_a_history_that_the_code_does_not_fit_parks_the_run(tmp_path, redis_url, redis_client):
    """Cannot happen by a deploy, since runs keep their code; here the stored code is exchanged under a run."""
    from orchestration.core.bundle import Bundle

    with deployed(project, tmp_path, redis_url) as deployment:
        worker = deployment.worker()
        handle = deployment.client.start_workflow(wait, id="odd")
        calls = deployment.client.start_workflow(order_one, id="odd-2")
        for run in (handle, calls):
            wait_until(lambda run=run: run.describe().places, message="both wait")
        wait_until(lambda: "listen" in calls.describe().places[0].waits_for, message="the call done")
        worker.kill()
        other = deployment.orchestration.registry.bundle(order_two)
        digest = calls.describe().bundle
        for key in redis_client.scan_iter(f"*:bundle:{digest}"):
            redis_client.set(key, other.encode())
        assert Bundle.decode(other.encode()) == other
        deployment.worker()
        before = list(calls.raw_history())
        calls.signal("go", 1)
        handle.signal("go", 1)
        wait_until(lambda: calls.describe().status == "parked", deadline_s=20, message=lambda: str(calls.describe()))
        reason = calls.describe().parked
        assert reason.startswith("non-determinism: ")
        assert "event 2" in reason
        assert "app:add" in reason
        assert "app:echo" in reason
        assert "order_two.lua:3" in reason
        assert list(calls.raw_history()) == before
        assert handle.result(timeout=20) == 1


order_one = project.workflow(
    "order_one",
    """
    local funcs = require("funcs")
    local function main()
        local sum = funcs.call("app:add", 1, 2)
        return process.listen("go"):receive() + sum
    end
    return main
    """,
)
order_two = project.workflow(
    "order_two",
    """
    local funcs = require("funcs")
    local function main()
        local sum = funcs.call("app:echo", 1, 2)
        return process.listen("go"):receive() + sum
    end
    return main
    """,
)
