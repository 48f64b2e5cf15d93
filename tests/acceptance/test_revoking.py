"""Workflows revoked by Celery's own means, and starts that expire."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from orchestration.store.attempts import AttemptId
from orchestration.tasks.messages import attempt_task_id
from tests.support import wait_until
from tests.support.projects import Deployment, Project

project = Project(tasks=["tests.acceptance.canvas_tasks"], concurrency=4)
WAITS = project.workflow(
    "waits",
    """
    local function main()
        local events, go = process.events(), process.listen("go")
        while true do
            local picked = channel.select({ events:case_receive(), go:case_receive() })
            if picked.channel == go then return picked.value end
            if picked.value.kind == process.event.CANCEL then
                return nil, errors.new({ message = "was asked to end", kind = errors.CANCELED })
            end
        end
    end
    return main
    """,
    modules=("errors", "channel"),
)
DEAF = project.workflow("deaf", "return function() return process.listen('go'):receive() end")
AGAIN = project.workflow(
    "again",
    """
    local function main(round)
        if not round then return process.upgrade(nil, 1) end
        process.events():receive()
        return nil, errors.new({ message = "was asked to end", kind = errors.CANCELED })
    end
    return main
    """,
)
CLEANS = project.workflow(
    "cleans",
    """
    local function main()
        local event = process.events():receive()
        return "cleaned up: " .. tostring(event.result and event.result.reason or event.reason)
    end
    return main
    """,
)


CALLS = project.workflow(
    "calls",
    """
    local function main(target, ...)
        local options = { ["activity.task_queue"] = "later" }
        local value, err = require("funcs").new():with_options(options):call("app:" .. target, ...)
        if err then return { kind = err:kind(), message = err:message(), retryable = err:retryable() } end
        return value
    end
    return main
    """,
)
TWICE = project.function("twice", "return function(n) return 2 * n end")
project.celery_task("add", "canvas.add")


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def suspended(running: Deployment, name: str, **options: Any) -> AsyncResult:
    """A run that has begun and waits."""
    result = running.app.tasks[name].apply_async(**options)
    handle = running.client.get_workflow(result.id)
    wait_until(lambda: handle.describe().history_length > 0)
    return result


def status(running: Deployment, result: AsyncResult) -> str:
    return running.client.get_workflow(result.id).describe().status


@pytest.mark.parametrize("options", [{}, {"terminate": True}, {"terminate": True, "signal": "SIGKILL"}])
def test_a_revoke_cancels_a_run(running, options):
    result = suspended(running, WAITS)
    result.revoke(**options)
    with pytest.raises(TaskRevokedError, match="asked to end"):
        result.get(timeout=10)
    assert (result.state, status(running, result)) == ("REVOKED", "cancelled")


def test_a_run_may_clean_up_and_the_result_is_what_it_returns(running):
    result = suspended(running, CLEANS)
    result.revoke()
    assert result.get(timeout=10) == "cleaned up: revoked"
    assert result.state == "SUCCESS"


def test_a_run_that_reads_no_events_goes_on(running):
    """As with any other cancel request; Celery's state does not tell otherwise."""
    result = suspended(running, DEAF)
    running.app.control.revoke(result.id, terminate=True)
    handle = running.client.get_workflow(result.id)
    wait_until(lambda: handle.describe().history_length > 1)
    assert result.state not in ("REVOKED", "FAILURE")
    handle.signal("go", "on")
    assert result.get(timeout=10) == "on"


def test_a_queued_start_is_revoked_and_never_begins(running):
    result = running.app.tasks[WAITS].apply_async(queue="nobody-listens")
    result.revoke()
    with pytest.raises(TaskRevokedError, match="revoked"):
        result.get(timeout=10)
    described = running.client.get_workflow(result.id).describe()
    assert (described.status, described.history_length) == ("cancelled", 1)


def test_a_start_with_a_countdown_is_revoked_before_it(running):
    result = running.app.tasks[WAITS].apply_async(countdown=3600)
    result.revoke()
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)
    assert status(running, result) == "cancelled"


def test_an_activity_that_is_revoked_before_a_worker_takes_it_is_cancelled(running):
    """As by a click in a monitor. Its message was dropped however often it was sent: the run waited for ever."""
    attempts, handles = running.orchestration.runtime.store("default").attempts, {}
    for target, args in (("twice", (2,)), ("add", (1, 2))):
        handle = handles[target] = running.client.start_workflow(CALLS, target, *args)
        _, state = wait_until(lambda handle=handle: attempts.read(handle.run_id, 1))
        running.app.control.revoke(attempt_task_id(AttemptId(handle.run_id, 1, state.attempt, state.token)))
    other = running.client.start_workflow(CALLS, "twice", 4)
    assert running.app.control.add_consumer("later", reply=True, timeout=10)
    for target, handle in handles.items():
        expected = {"kind": "Canceled", "message": f"the task of app:{target} was revoked", "retryable": False}
        assert handle.result(timeout=20) == expected
    assert other.result(timeout=20) == 8


def test_a_list_of_tasks_is_revoked_ours_and_others(running):
    runs = [suspended(running, WAITS) for _ in range(2)]
    other = running.app.signature("canvas.add", (1, 1), queue="nobody-listens").apply_async()
    running.app.control.revoke([runs[0].id, other.id, runs[1].id])
    for result in (*runs, other):
        with pytest.raises(TaskRevokedError):
            result.get(timeout=10)


def test_the_answer_of_the_command_names_the_runs(running):
    result, (worker,) = suspended(running, WAITS), running.workers
    answers = running.app.control.revoke(result.id, reply=True, timeout=5, limit=1)
    assert result.id in str(answers), (answers, worker)
    answers = running.app.control.revoke("no-such-task", reply=True, timeout=5, limit=1)
    assert "flagged as revoked" in str(answers)


def test_a_group_of_runs_is_revoked(running):
    step = running.app.tasks[WAITS]
    result = group(step.s(), step.s()).apply_async()
    for member in result:
        wait_until(lambda member=member: running.client.get_workflow(member.id).describe().history_length > 0)
    result.revoke()
    for member in result:
        with pytest.raises(TaskRevokedError):
            member.get(timeout=10)


def test_a_revoked_step_ends_its_chain_and_its_chord(running, key):
    errback = running.app.signature("canvas.note_failure", kwargs={"key": key})
    add = running.app.signature("canvas.add", (1,))
    last = chain(running.app.tasks[WAITS].s(), add).apply_async(link_error=errback)
    step = running.client.get_workflow(last.parent.id)
    wait_until(lambda: step.describe().history_length > 0)
    last.parent.revoke()
    with pytest.raises(TaskRevokedError):
        last.get(timeout=10)
    wait_until(lambda: (last.state, last.parent.state) == ("REVOKED", "REVOKED"))
    read = running.app.signature("canvas.noted", (key,))
    assert wait_until(lambda: read.apply_async().get(timeout=10), every_s=0.1) == [["failed", last.parent.id]]
    body = chord([running.app.tasks[WAITS].s().set(task_id=f"header-{key}"), add.clone((1,))], add.clone(()))
    result = body.apply_async()
    wait_until(lambda: running.client.get_workflow(f"header-{key}").describe().history_length > 0)
    AsyncResult(f"header-{key}", app=running.app).revoke()
    with pytest.raises(Exception, match="asked to end"):
        result.get(timeout=10)


def test_a_revoke_reaches_the_run_that_has_taken_the_place_of_another(running):
    started = running.client.start_workflow(AGAIN)
    handle, first = running.client.get_workflow(started.id), started.run_id
    wait_until(lambda: handle.describe().first_run_id == first and handle.describe().history_length > 0)
    AsyncResult(first, app=running.app).revoke()  # a client's start is a Celery task of the id of its first run
    wait_until(lambda: handle.describe().status == "cancelled")


def test_a_revoke_after_the_end_changes_nothing(running):
    result = suspended(running, WAITS)
    running.client.get_workflow(result.id).signal("go", "done")
    assert result.get(timeout=10) == "done"
    result.revoke(terminate=True, wait=True, timeout=2)
    assert (result.state, status(running, result)) == ("SUCCESS", "completed")


def test_a_stamp_that_is_revoked_takes_back_the_starts_that_carry_it(running, key):
    """A worker drops their messages as they come; the runs that are written already end with them."""
    running.app.control.revoke_by_stamped_headers({"shop": [key]}, reply=True, timeout=5, limit=1)
    step = running.app.tasks[WAITS].s()
    step.stamp(shop=key)
    result = step.apply_async()
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)
    assert status(running, result) == "cancelled"
    other = running.app.tasks[WAITS].s()
    other.stamp(shop="another")
    kept = other.apply_async()
    wait_until(lambda: running.client.get_workflow(kept.id).describe().history_length > 0)
    running.client.get_workflow(kept.id).terminate()


def test_a_start_that_nobody_takes_in_time_expires(running):
    result = running.app.tasks[WAITS].apply_async(queue="nobody-listens", expires=0.3)
    with pytest.raises(TaskRevokedError, match="expired"):
        result.get(timeout=10)
    described = running.client.get_workflow(result.id).describe()
    assert (described.status, described.history_length) == ("cancelled", 1)
    late = running.app.tasks[WAITS].apply_async(expires=-5)
    with pytest.raises(TaskRevokedError, match="expired"):
        late.get(timeout=10)


def test_a_run_that_has_begun_in_time_does_not_expire(running):
    result = suspended(running, DEAF, expires=1.0)
    handle = running.client.get_workflow(result.id)
    store, run_id = running.orchestration.runtime.store(handle.namespace), handle.run_id
    timers = store.keyspace.of_run(run_id).timers
    wait_until(lambda: store.connection.call("ZSCORE", timers, f"{run_id}/expire") is None)
    handle.signal("go", "on")
    assert result.get(timeout=10) == "on"


def test_a_start_that_is_delivered_again_after_its_expiry_cancels_nothing(running):
    result = suspended(running, WAITS)
    client = Celery("without_extension", broker=running.redis_url, backend=running.redis_url, set_as_current=False)
    client.send_task(WAITS, task_id=result.id, expires=-5)
    assert client.send_task("canvas.add", (1, 2)).get(timeout=10) == 3, "the worker takes messages in order"
    running.client.get_workflow(result.id).signal("go", "on")
    assert result.get(timeout=10) == "on"
    client.close()


def test_a_start_without_the_extension_that_expires_is_revoked(running):
    client = Celery("without_extension", broker=running.redis_url, backend=running.redis_url, set_as_current=False)
    result = client.send_task(WAITS, expires=-5)
    with pytest.raises(TaskRevokedError, match="expired"):
        result.get(timeout=10)
    client.close()
