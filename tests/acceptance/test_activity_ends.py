"""Activities that others end: cancelled while they run, completed by whoever has the token, tried again when asked."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
import uuid

import pytest

from orchestration import AsyncClient, activity
from orchestration.core import events
from orchestration.errors import (
    ActivityClosedError,
    ActivityTokenError,
    ApplicationError,
    EncodeError,
    WorkflowTerminatedError,
)
from orchestration.store.attempts import AttemptId
from orchestration.tasks.tokens import encode_token
from orchestration.types import RunId
from tests.support import wait_until
from tests.support.projects import Project, deployed
from tests.support.workers import ROOT

project = Project(tasks=["tests.acceptance.tasks"], concurrency=8)
for task in ("seen", "asks_outside", "tokens", "watches", "asks_for_pause", "until_cancelled", "echo", "sleeps"):
    project.celery_task(task, f"accept.{task}")

call = project.workflow(
    "call",
    """
    local funcs = require("funcs")
    local function main(target, options, ...)
        local value, err = funcs.new():with_options(options or {}):call(target, ...)
        if not err then return { value = value } end
        return { kind = err:kind(), message = err:message(), retryable = err:retryable(), details = err:details() }
    end
    return main
    """,
)
takes_back = project.workflow(
    "takes_back",
    """
    local funcs, time = require("funcs"), require("time")
    local function main(target, options, after, ...)
        local work = funcs.new():with_options(options):async(target, ...)
        time.sleep(after)
        work:cancel()
        local at_once = { work:is_canceled(), work:is_complete() }
        local got, ok = work:response():receive()
        local payload, err = work:result()
        return {
            at_once = at_once, value = payload and payload:data(), kind = err and err:kind(),
            message = err and err:message(), retryable = err and err:retryable(), ok = ok,
            complete = work:is_complete(),
        }
    end
    return main
    """,
)
takes_all_back = project.workflow(
    "takes_all_back",
    """
    local funcs, time, workflow = require("funcs"), require("time"), require("workflow")
    local function main(key)
        local e = funcs.new():with_options({ ["activity.wait_for_cancellation"] = true })
        local future = e:async("app:watches", key .. "future", false)
        coroutine.spawn(function()
            time.sleep("300ms")
            workflow.cancel_pending()
            workflow.cancel_pending()
        end)
        local _, err = e:call("app:watches", key)
        return { err:kind(), future:response():receive():data() }
    end
    return main
    """,
)
project.function(
    "listens",
    """
    local time = require("time")
    local process = require("process")
    local function main(key)
        local limit = time.after("20s")
        local picked = channel.select { process.events():case_receive(), limit:case_receive() }
        if picked.channel == limit then return "never cancelled" end
        return nil, errors.new({ message = "stopped: " .. picked.value.kind, kind = "Canceled", retryable = false })
    end
    return main
    """,
    modules=["time", "process"],
)
nobody = project.celery_task("nobody", "accept.echo", **{"activity.task_queue": "nobody-listens"})
WAIT = {"activity.wait_for_cancellation": True}


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def seen(client):
    return lambda key: client.call("app:seen", key, timeout=10)


@pytest.fixture
def token_of(client):
    """The token that the body of a key has given away, once the body has ended."""

    def token(handle, key, number=0):
        wait_until(lambda: any(p.state == "external" for p in handle.describe().pending), message="the body has ended")
        return wait_until(lambda: client.call("app:tokens", key, timeout=10)[number:])[0]

    return token


# -- cancelled while it runs ------------------------------------------------------------------------------------------


def test_a_running_body_is_told_that_its_call_was_taken_back(client, seen, key):
    result = client.start_workflow(takes_back, "app:watches", {}, "100ms", key).result(timeout=20)
    assert result["at_once"] == [True, True]
    assert (result["kind"], result["message"]) == ("Canceled", "canceled")
    wait_until(lambda: seen(key), message="the body told")


def test_a_running_body_is_told_that_its_run_has_ended(client, seen, key):
    handle = client.start_workflow(call, "app:watches", {}, key)
    wait_until(lambda: seen(f"{key} began"))
    handle.terminate("enough")
    with pytest.raises(WorkflowTerminatedError):
        handle.result(timeout=10)
    wait_until(lambda: seen(key), message="the body told")


def test_wait_for_cancellation_waits_for_the_body_to_acknowledge(client, seen, key):
    handle = client.start_workflow(takes_back, "app:watches", WAIT, "300ms", key, True, 0.3)
    result = handle.result(timeout=20)
    assert result["at_once"] == [True, False]
    assert (result["kind"], result["message"], result["retryable"]) == ("Canceled", "operation canceled", False)
    assert (result["ok"], result["complete"]) == (True, True)
    assert len(seen(key)) == len(seen(f"{key} began")) == 1
    assert events.CancelActivity(1, wait=True) in list(handle.history())


def test_an_answer_to_a_cancel_counts_on_a_machine_that_was_replayed(redis_url, tmp_path, key):
    """Once, a replay took the call for closed, and the answer that the workflow waits for was dropped."""
    with deployed(project, tmp_path, redis_url) as deployment:
        deployment.worker(env={"ORCHESTRATION_CACHE_RUNS": "0"})
        handle = deployment.client.start_workflow(takes_back, "app:watches", WAIT, "100ms", key)
        assert handle.result(timeout=20)["message"] == "operation canceled"


def test_wait_for_cancellation_takes_the_result_of_a_body_that_is_done_all_the_same(client, key):
    result = client.start_workflow(takes_back, "app:watches", WAIT, "300ms", key, False).result(timeout=20)
    assert (result["value"], result.get("kind")) == ("done all the same", None)


def test_taking_back_all_that_is_pending_waits_too_where_it_is_asked_to(client, key):
    handle = client.start_workflow(takes_all_back, key)
    assert handle.result(timeout=20) == ["Canceled", "done all the same"]
    asked = [event for event in handle.history() if isinstance(event, events.CancelActivity)]
    assert asked == [events.CancelActivity(1, wait=True), events.CancelActivity(3, wait=True)]


def test_an_attempt_that_nobody_has_begun_is_never_started_after_a_cancel(client, key):
    result = client.start_workflow(takes_back, nobody, WAIT, "50ms", key).result(timeout=20)
    assert (result["kind"], result["message"], result["retryable"]) == ("Canceled", "operation canceled", False)


def test_an_activity_that_is_asked_to_stop_is_not_tried_again(client, seen, key):
    """The body fails in its own way after the cancel; without it there would be another attempt."""
    options = {**WAIT, "activity.heartbeat_timeout": "400ms", "activity.retry_policy": {"initial_interval": "10ms"}}
    result = client.start_workflow(takes_back, "app:sleeps", options, "50ms", key, 1.0).result(timeout=20)
    assert result["kind"] == "Timeout"
    assert len(seen(key)) == 1


def test_a_local_body_is_told_too_and_waited_for(client, seen, key):
    options = {**WAIT, "activity.local": True}
    result = client.start_workflow(takes_back, "app:watches", options, "50ms", key).result(timeout=20)
    assert (result["kind"], result["message"]) == ("Canceled", "operation canceled")
    assert len(seen(key)) == 1


def test_a_function_in_lua_gets_a_cancel_event(client, key):
    result = client.start_workflow(takes_back, "app:listens", WAIT, "300ms", key).result(timeout=20)
    assert (result["kind"], result["message"]) == ("Canceled", "stopped: pid.cancel")


# -- completed by token -----------------------------------------------------------------------------------------------


def test_an_activity_is_completed_later_from_anywhere_by_its_token(client, token_of, key):
    handle = client.start_workflow(call, "app:asks_outside", {}, key)
    token = token_of(handle, key)
    client.complete_activity(token, {"approved": True})
    assert handle.result(timeout=10) == {"value": {"approved": True}}
    client.complete_activity(token, {"approved": True})  # safe to repeat
    with pytest.raises(ActivityClosedError, match="has been completed by its token") as caught:
        client.fail_activity(token, "no")
    assert caught.value.kind == "Conflict"


def test_a_failure_by_token_is_tried_again_as_the_policy_says(client, token_of, seen, key):
    policy = {"activity.retry_policy": {"initial_interval": "20ms", "maximum_attempts": 2}}
    handle = client.start_workflow(call, "app:asks_outside", policy, key)
    first = token_of(handle, key)
    client.fail_activity(first, "first")
    client.fail_activity(first, "first")
    second = token_of(handle, key, 1)
    assert first != second
    client.fail_activity(second, ApplicationError("second", kind="Declined", details={"by": "Ana"}))
    result = handle.result(timeout=10)
    assert (result["kind"], result["message"], result["details"]["by"]) == ("Declined", "second", "Ana")
    client.fail_activity(second, "second")
    with pytest.raises(ActivityClosedError, match="reported as failed"):
        client.complete_activity(second, 1)
    assert len(seen(key)) == 2


def test_no_workers_death_fails_an_activity_that_somebody_else_completes(redis_url, tmp_path, key):
    with deployed(project, tmp_path, redis_url) as deployment:
        first = deployment.worker()
        handle = deployment.client.start_workflow(call, "app:asks_outside", {}, key)
        wait_until(lambda: any(p.state == "external" for p in handle.describe().pending))
        token = deployment.client.call("app:tokens", key, timeout=10)[0]
        first.kill()
        deployment.client.complete_activity(token, "late")  # no worker is needed
        second = deployment.worker()
        assert handle.result(timeout=20) == {"value": "late"}
        assert "attempt sent again" not in second.log()


def test_deadlines_go_on_for_an_activity_that_somebody_else_completes(client, token_of, key):
    once = {"maximum_attempts": 1}
    options = {"activity.start_to_close_timeout": "900ms", "activity.retry_policy": once}
    handle = client.start_workflow(call, "app:asks_outside", options, key)
    token = token_of(handle, key)
    result = handle.result(timeout=10)
    assert (result["kind"], result["details"]["timeout_type"]) == ("Timeout", "start_to_close")
    for verb in (lambda: client.complete_activity(token), lambda: client.heartbeat_activity(token)):
        with pytest.raises(ActivityClosedError, match="is not open any more: run completed") as caught:
            verb()
        assert caught.value.kind == "Conflict"


def test_heartbeats_by_token_keep_it_alive_and_leave_progress(client, token_of, key):
    options = {"activity.heartbeat_timeout": "700ms", "activity.retry_policy": {"initial_interval": "10ms"}}
    handle = client.start_workflow(call, "app:asks_outside", options, key)
    token = token_of(handle, key)
    for page in range(5):
        client.heartbeat_activity(token, {"page": page})
        time.sleep(0.25)
    (pending,) = handle.describe().pending
    assert (pending.state, pending.attempt) == ("external", 1)
    assert handle.result(timeout=20) == {"value": {"page": 4}}  # of the attempt after the heartbeats have stopped


def test_a_cancel_reaches_who_sends_heartbeats_by_token(client, token_of, key):
    handle = client.start_workflow(takes_back, "app:asks_outside", WAIT, "1s", key)
    token = token_of(handle, key)

    def is_cancelled():
        try:
            client.heartbeat_activity(token)
        except activity.Cancelled as error:
            client.fail_activity(token, error)
            return True
        return False

    wait_until(is_cancelled)
    result = handle.result(timeout=10)
    assert (result["kind"], result["message"]) == ("Canceled", "operation canceled")


def test_whoever_is_faster_than_the_body_counts(client, key):
    """The token is good as soon as the body has it."""
    handle = client.start_workflow(takes_back, "app:watches", {}, "10m", key)
    wait_until(lambda: any(p.state == "claimed" for p in handle.describe().pending))
    store = client._runtime.store("default")
    _, state = store.attempts.read(handle.run_id, 1)
    token = encode_token("default", AttemptId(handle.run_id, 1, 1, state.token))
    client.complete_activity(token, "faster")
    wait_until(lambda: any(isinstance(event, events.ActivityCompleted) for event in handle.history()))
    handle.terminate()


def test_a_local_activity_gives_away_a_token_that_is_good_at_once(client, token_of, key):
    handle = client.start_workflow(call, "app:asks_outside", {"activity.local": True}, key)
    client.complete_activity(token_of(handle, key), "from outside")
    assert handle.result(timeout=10) == {"value": "from outside"}
    assert client.start_workflow(call, "app:asks_outside", {"activity.local": True}, key + "b", False).result(
        timeout=10
    ) == {"value": "by itself"}


@pytest.mark.parametrize("token", ["", "no token", "AAAA", "gaFh", 5, None, "é"])
def test_what_is_no_token_is_said(client, token):
    with pytest.raises(ActivityTokenError, match="is no token of an activity") as caught:
        client.complete_activity(token, 1)
    assert caught.value.kind == "Invalid"


def test_a_token_of_another_deployment_is_said(client):
    elsewhere = encode_token("elsewhere", AttemptId(RunId("1-x"), 1, 1, "t"))
    with pytest.raises(ActivityTokenError, match="namespace 'elsewhere'"):
        client.complete_activity(elsewhere, 1)
    run_id = client._runtime.store("default").runs.new_id("never-started")
    for verb in (client.complete_activity, client.heartbeat_activity, lambda token: client.fail_activity(token, "x")):
        with pytest.raises(ActivityClosedError, match="is not known") as caught:
            verb(encode_token("default", AttemptId(run_id, 1, 1, "t")))
        assert caught.value.kind == "NotFound"


def test_a_result_that_cannot_be_carried_is_said_to_who_gives_it(client, token_of, key):
    handle = client.start_workflow(call, "app:asks_outside", {}, key)
    token = token_of(handle, key)
    with pytest.raises(EncodeError):
        client.complete_activity(token, {1, 2})
    handle.terminate()


def test_the_async_client_completes_activities_too(client, running, token_of, key):
    handle = client.start_workflow(call, "app:asks_outside", {}, key)
    token = token_of(handle, key)

    async def complete():
        other = AsyncClient(running.app)
        await other.heartbeat_activity(token, 1)
        await other.complete_activity(token, [1])
        with pytest.raises(ActivityClosedError):
            await other.fail_activity(token, "x")

    asyncio.run(complete())
    assert handle.result(timeout=10) == {"value": [1]}


def test_the_command_line_completes_and_fails_activities(client, running, token_of, key):
    def cli(*words):
        command = [sys.executable, "-m", "orchestration.cli", "-A", "tests.support.project_app", "activity", *words]
        env = {"REDIS_URL": running.redis_url, "ORCHESTRATION_CONFIG": str(running.config), "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*command, "--json"], env=env, cwd=running.folder, capture_output=True, text=True, timeout=60, check=False
        )

    handle = client.start_workflow(call, "app:asks_outside", {}, key)
    done = cli("complete", token_of(handle, key), '{"by": "Ana"}')
    assert (done.returncode, json.loads(done.stdout)) == (0, {"outcome": "completed"}), done.stderr
    assert handle.result(timeout=10) == {"value": {"by": "Ana"}}

    handle = client.start_workflow(call, "app:asks_outside", {}, key + "b")
    token = token_of(handle, key + "b")
    words = ["fail", token, "no", "--kind", "Declined", "--no-retry", "--details", '{"n": 1}']
    assert cli(*words).returncode == 0
    result = handle.result(timeout=10)
    assert (result["kind"], result["message"], result["details"]["n"]) == ("Declined", "no", 1)
    assert cli("complete", token).returncode == 6
    assert cli("complete", "nonsense").returncode == 2


# -- a pause that the failure asks for --------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True], ids=["ordinary", "local"])
def test_the_failure_of_an_activity_chooses_the_pause_before_the_next_attempt(client, seen, key, local):
    options = {"activity.local": local, "activity.retry_policy": {"initial_interval": "1h"}}
    assert client.start_workflow(call, "app:asks_for_pause", options, key, 0.3).result(timeout=20) == {"value": 2}
    (pause,) = [later - earlier for earlier, later in itertools.pairwise(seen(key))]
    assert 0.3 <= pause < 3


def test_a_function_in_lua_chooses_the_pause_by_its_details(client, key):
    options = {"activity.retry_policy": {"initial_interval": "1h", "maximum_attempts": 2}}
    started = time.monotonic()
    result = client.start_workflow(call, asks_in_lua, options).result(timeout=20)
    assert result["message"] == "busy"
    assert 0.3 <= time.monotonic() - started < 5


asks_in_lua = project.function(
    "asks_in_lua",
    """
    return function()
        return nil, errors.new({ message = "busy", kind = "Unavailable", details = { retry_after_ms = 300 } })
    end
    """,
)
