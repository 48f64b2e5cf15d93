"""Activities: what is tried again and what is not, how long things may take, and what a body can know and say."""

from __future__ import annotations

import itertools
import time
import uuid

import pytest

from orchestration.errors import WorkflowFailedError
from tests.support import wait_until
from tests.support.projects import Project

project = Project(tasks=["tests.acceptance.tasks"], concurrency=8)
for task in (
    "add", "echo", "seen", "flaky", "raises", "sleeps", "beats", "until_cancelled", "info", "outside", "own_retry",
    "autoretry", "retry_at", "missing",
):  # fmt: skip
    project.celery_task(task, f"accept.{task}")
project.celery_task("twice", "accept.flaky", **{"activity.retry_policy": {"maximum_attempts": 2}})
project.celery_task("elsewhere", "accept.add", **{"activity.task_queue": "nobody-listens"})

call = project.workflow(
    "call",
    """
    local funcs = require("funcs")

    local function main(target, options, ...)
        local value, err = funcs.new():with_options(options or {}):call(target, ...)
        if err then
            return {
                message = err:message(), kind = err:kind(), retryable = err:retryable(), details = err:details(),
                text = tostring(err),
            }
        end
        return { value = value }
    end
    return main
    """,
)


@pytest.fixture
def key():
    return uuid.uuid4().hex


@pytest.fixture
def run(client):
    def run(target, options=None, *args):
        return client.start_workflow(call, f"app:{target}", options or {}, *args).result(timeout=20)

    return run


@pytest.fixture
def seen(client):
    return lambda key: client.call("app:seen", key, timeout=10)


def retry(**policy):
    policy.setdefault("initial_interval", "20ms")
    return {"activity.retry_policy": policy}


def test_a_failure_is_tried_again_until_it_goes_well(run, seen, key):
    assert run("flaky", retry(), key, 3) == {"value": 4}
    assert len(seen(key)) == 4


def test_attempts_run_out(run, seen, key):
    failed = run("flaky", retry(maximum_attempts=3), key, 99)
    assert (failed["message"], failed["kind"]) == ("not yet", "Unavailable")
    assert failed["details"]["key"] == key
    assert len(seen(key)) == 3


def test_an_entrys_own_policy_is_the_default(run, seen, key):
    assert run("twice", None, key, 99)["kind"] == "Unavailable"
    assert len(seen(key)) == 2


def test_pauses_grow_up_to_the_longest(run, seen, key):
    policy = retry(initial_interval="200ms", backoff_coefficient=2, maximum_interval="300ms")
    assert run("flaky", policy, key, 3) == {"value": 4}
    times = seen(key)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    for pause, least in zip(pauses, (0.2, 0.3, 0.3), strict=True):
        assert least <= pause < least + 3, pauses


def test_without_a_policy_it_is_tried_again_after_a_second(run, seen, key):
    assert run("flaky", None, key, 1) == {"value": 2}
    first, second = seen(key)
    assert 1 <= second - first < 4


@pytest.mark.parametrize(
    ("types", "kind", "attempts"), [(["Declined"], "Declined", 1), (["Other"], "Declined", 2)], ids=["listed", "not"]
)
def test_kinds_that_are_not_retried(run, seen, key, types, kind, attempts):
    failed = run("flaky", retry(non_retryable_error_types=types, maximum_attempts=2), key, 99, kind)
    assert failed["kind"] == kind
    assert len(seen(key)) == attempts


@pytest.mark.parametrize(("types", "attempts"), [(["OutOfPaper"], 1), (["KeyError"], 2)])
def test_exception_classes_that_are_not_retried(run, seen, key, types, attempts):
    failed = run("raises", retry(non_retryable_error_types=types, maximum_attempts=2), key, "OutOfPaper")
    assert failed["kind"] == "Internal"
    assert failed["message"] == "OutOfPaper: of the body"
    assert failed["details"]["exception"] == "OutOfPaper"
    assert len(seen(key)) == attempts


def test_an_error_that_says_no_is_not_retried(run, seen, key):
    failed = run("flaky", retry(), key, 99, "Unavailable", False)
    assert failed["retryable"] is False
    assert len(seen(key)) == 1


def test_start_to_close_bounds_one_attempt(run, seen, key):
    options = {"activity.start_to_close_timeout": "300ms", **retry(maximum_attempts=1)}
    failed = run("sleeps", options, key, 3)
    assert (failed["kind"], failed["retryable"]) == ("Timeout", False)
    assert failed["details"]["timeout_type"] == "start_to_close"
    started = time.monotonic()
    assert run("sleeps", {**options, **retry()}, key + "b", 5, True) == {"value": "slept"}
    assert time.monotonic() - started < 5
    assert len(seen(key + "b")) == 1


def test_schedule_to_close_bounds_all_attempts(run, seen, key):
    options = {"activity.schedule_to_close_timeout": "700ms", **retry(initial_interval="300ms", backoff_coefficient=1)}
    started = time.monotonic()
    failed = run("flaky", options, key, 99)
    assert time.monotonic() - started < 5
    assert failed["kind"] in ("Unavailable", "Timeout")
    assert 2 <= len(seen(key)) <= 3
    failed = run("sleeps", {"activity.schedule_to_close_timeout": "300ms"}, key, 1)
    assert (failed["kind"], failed["details"]["timeout_type"]) == ("Timeout", "schedule_to_close")


def test_schedule_to_start_bounds_the_wait_for_a_worker(run):
    failed = run("elsewhere", {"activity.schedule_to_start_timeout": "300ms"}, 1, 2)
    assert (failed["kind"], failed["details"]["timeout_type"]) == ("Timeout", "schedule_to_start")


def test_a_heartbeat_that_stays_away_ends_the_attempt_and_the_next_one_goes_on(run, seen, key):
    options = {"activity.heartbeat_timeout": "500ms", "activity.start_to_close_timeout": "30s", **retry()}
    assert run("beats", options, key, 6, 4) == {"value": {"attempt": 2, "first": 5}}
    assert len(seen(key)) == 2


def test_a_heartbeat_timeout_is_told(run, key):
    failed = run("sleeps", {"activity.heartbeat_timeout": "300ms", **retry(maximum_attempts=1)}, key, 5)
    assert (failed["kind"], failed["details"]["timeout_type"]) == ("Timeout", "heartbeat")


def test_what_a_body_can_know(client):
    workflow_id = f"info-{uuid.uuid4().hex}"
    handle = client.start_workflow(call, "app:info", retry(), 2, id=workflow_id, context={"tenant": "t1"})
    facts = handle.result(timeout=20)["value"]
    idempotency_key = facts.pop("key")
    assert facts == {
        "workflow_id": handle.id, "run_id": handle.run_id, "workflow_type": call, "target": "app:info", "seq": 1,
        "attempt": 3, "context": {"tenant": "t1"}, "inside": True,
    }  # fmt: skip
    keys = client.call("app:seen", f"keys of {handle.run_id}/1", timeout=10)
    assert keys == [idempotency_key] * 3


def test_two_calls_have_two_idempotency_keys(run):
    assert run("info")["value"]["key"] != run("info")["value"]["key"]


def test_a_plain_task_is_no_activity(client):
    assert client.call("app:outside", timeout=10).startswith("False: not inside an activity")


def test_a_task_that_the_worker_has_not_got(run):
    failed = run("missing", retry(maximum_attempts=2))
    assert (failed["kind"], failed["retryable"]) == ("NotFound", True)
    assert "accept.missing" in failed["message"]


unregistered = project.workflow(
    "unregistered",
    """
    local funcs = require("funcs")
    local function main(target)
        local value, err = funcs.call(target)
        return { value, kind = err:kind(), retryable = err:retryable(), message = err:message() }
    end
    return main
    """,
)

fan_out = project.workflow(
    "fan_out",
    """
    local funcs, time = require("funcs"), require("time")
    local function main(n)
        local futures, cases = {}, {}
        for i = 1, n do
            futures[i] = funcs.async("app:echo", i * 10)
            cases[i] = futures[i]:response():case_receive()
        end
        local first = channel.select(cases)
        local sum = 0
        for i = 1, n do
            local result
            if first.channel == futures[i]:response() then
                result = first.value
            else
                result = futures[i]:response():receive()
            end
            sum = sum + result:data()
        end
        return sum
    end
    return main
    """,
)

impatient = project.workflow(
    "impatient",
    """
    local funcs, time = require("funcs"), require("time")
    local function main(key)
        local work = funcs.async("app:until_cancelled", key)
        local timeout = time.after("300ms")
        local picked = channel.select { work:response():case_receive(), timeout:case_receive() }
        if picked.channel ~= timeout then return "it ended" end
        work:cancel()
        local _, err = work:result()
        return { canceled = work:is_canceled(), kind = err:kind(), message = err:message() }
    end
    return main
    """,
)

protected = project.workflow(
    "protected",
    """
    local funcs = require("funcs")
    local function main(key)
        local ok, value, err = pcall(funcs.call, "app:raises_once", key, "KeyError")
        local raised, why = pcall(function()
            local _, problem = funcs.call("app:twice", key, 99)
            error(problem)
        end)
        return { ok = ok, value = value, message = err:message(), raised = raised, kind = why:kind() }
    end
    return main
    """,
)
project.celery_task("raises_once", "accept.raises", **{"activity.retry_policy": {"maximum_attempts": 1}})


@pytest.mark.parametrize("target", ["app:nothing", "other:thing"])
def test_a_target_without_an_entry(client, target):
    failed = client.start_workflow(unregistered, target).result(timeout=10)
    assert (failed["kind"], failed["retryable"]) == ("NotFound", True)
    assert target in failed["message"]


def test_calls_run_side_by_side(client):
    assert client.start_workflow(fan_out, 12).result(timeout=20) == 780


def test_a_call_that_takes_too_long_is_given_up(client, seen, key):
    result = client.start_workflow(impatient, key).result(timeout=20)
    assert result == {"canceled": True, "kind": "Canceled", "message": "canceled"}
    wait_until(lambda: seen(key), message="the body told that nobody wants it")


def test_pcall_around_a_failing_call(client, key):
    result = client.start_workflow(protected, key).result(timeout=20)
    assert result["ok"] is True
    assert result["message"] == "KeyError: 'of the body'"
    assert (result["raised"], result["kind"]) == (False, "Unavailable")


def test_celerys_own_retry_is_one_attempt(run, seen, key):
    assert run("own_retry", None, key, 2) == {"value": {"retries": 2, "attempt": 1}}
    assert len(seen(key)) == 3


def test_celerys_own_retry_at_a_time_without_a_timezone_is_waited_for(run, seen, key):
    """The time for the attempt, which is shorter, begins again then."""
    assert run("retry_at", {"activity.start_to_close_timeout": "700ms"}, key, 1.5) == {"value": 1}
    assert len(seen(key)) == 2


def test_celerys_own_retries_run_out(run, seen, key):
    failed = run("autoretry", retry(maximum_attempts=1), key)
    assert failed["message"] == "OutOfPaper: for ever"
    assert len(seen(key)) == 2


def test_an_activity_that_gives_up_ends_the_workflow_that_passes_it_on(client, key):
    handle = client.start_workflow(passes_on, key)
    with pytest.raises(WorkflowFailedError, match="not yet") as caught:
        handle.result(timeout=20)
    assert caught.value.kind == "Unavailable"


passes_on = project.workflow(
    "passes_on",
    """
    local funcs = require("funcs")
    local function main(key) return funcs.call("app:twice", key, 99) end
    return main
    """,
)


def test_the_recorded_id_of_an_activity_is_the_one_that_was_given(run, key):
    options = {"activity.id": "the-charge", **retry(maximum_attempts=1)}
    assert run("flaky", options, key, 9)["details"]["_activity_id"] == "the-charge"
    assert run("flaky", retry(maximum_attempts=1), key + "b", 9)["details"]["_activity_id"] == "1"


@pytest.mark.parametrize("prefix", ["activity", "temporal.activity"])
def test_eager_execution_may_be_switched_off_though_there_is_none(run, prefix):
    assert run("echo", {f"{prefix}.disable_eager_execution": True}, 5) == {"value": 5}


@pytest.mark.parametrize("prefix", ["activity", "temporal.activity"])
def test_a_task_queue_of_the_call_is_where_its_message_goes(run, prefix):
    options = {f"{prefix}.task_queue": "nobody-listens", f"{prefix}.schedule_to_start_timeout": "200ms"}
    assert run("echo", options, 5)["details"]["timeout_type"] == "schedule_to_start"
