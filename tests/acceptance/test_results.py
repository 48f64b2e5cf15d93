"""Results: the same ones for a handle and for an AsyncResult, for everybody who waits, as long as they are kept."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as CeleryTimeoutError

from orchestration import AsyncClient
from orchestration.errors import (
    ApplicationError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowNotFoundError,
    WorkflowTerminatedError,
)
from tests.support.projects import Project

project = Project(tasks=["tests.acceptance.tasks"])
wait = project.workflow(
    "wait",
    """
    local function main()
        local answer = process.listen("go"):receive()
        if answer == "fail" then
            return nil, errors.new {
                message = "no luck", kind = "Unlucky", retryable = true, details = { tries = 3, list = { 1, 2 } },
            }
        elseif answer == "cancel" then
            return nil, errors.new { message = "gave up", kind = errors.CANCELED }
        elseif answer == "raise" then
            error("broken")
        end
        return answer
    end
    return main
    """,
    modules=[],
)


def both(running, answer=None):
    """A run started by Celery: its handle and its AsyncResult."""
    result = running.app.send_task(wait)
    handle = running.client.get_workflow(result.id)
    if answer is not None:
        handle.signal("go", answer)
    return handle, result


@pytest.mark.parametrize("value", [None, 0, "", [], {}, {"a": [1, {"b": None}]}, "x" * 100_000, 1.5, "ñ"], ids=repr)
def test_one_value_for_both(running, value):
    handle, result = both(running)
    handle.signal("go", {"boxed": value})
    expected = handle.result(timeout=10)
    assert result.get(timeout=10) == expected
    assert expected.get("boxed") == value or value in (None, {"a": [1, {"b": None}]})


def test_an_error_with_all_its_facts(running):
    handle, result = both(running, "fail")
    with pytest.raises(WorkflowFailedError) as by_handle:
        handle.result(timeout=10)
    with pytest.raises(ApplicationError) as by_celery:
        result.get(timeout=10)
    for error in (by_handle.value, by_celery.value):
        assert (error.message, error.kind, error.retryable) == ("no luck", "Unlucky", True)
        assert error.details == {"tries": 3, "list": [1, 2]}
    assert result.state == "FAILURE"


def test_cancelled_and_terminated(running):
    handle, result = both(running, "cancel")
    with pytest.raises(WorkflowCancelledError, match="gave up"):
        handle.result(timeout=10)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)
    assert result.state == "REVOKED"
    handle, result = both(running)
    handle.terminate("enough")
    with pytest.raises(WorkflowTerminatedError):
        handle.result(timeout=10)
    with pytest.raises(ApplicationError, match="workflow terminated"):
        result.get(timeout=10)


def test_waiting_has_an_end_and_can_begin_again(running):
    handle, result = both(running)
    with pytest.raises(TimeoutError, match="has not ended within"):
        handle.result(timeout=0.2)
    with pytest.raises(TimeoutError):
        handle.result(timeout=timedelta(milliseconds=50))
    with pytest.raises(CeleryTimeoutError):
        result.get(timeout=0.2)
    assert result.state == "PENDING"
    handle.signal("go", "now")
    assert handle.result(timeout=10) == result.get(timeout=10) == "now"


def test_many_may_wait(running):
    handle, result = both(running)
    found = []
    waiters = [threading.Thread(target=lambda: found.append(handle.result(timeout=20))) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    handle.signal("go", "all")
    for waiter in waiters:
        waiter.join(timeout=20)
    assert found == ["all"] * 5
    assert result.get(timeout=10) == "all"


def test_each_run_of_an_id_keeps_its_result(client):
    first = client.start_workflow(wait, id="again", signals=[("go", [1])])
    assert first.result(timeout=10) == 1
    second = client.start_workflow(wait, id="again", signals=[("go", [2])])
    assert second.result(timeout=10) == 2
    assert first.result(timeout=10) == 1
    assert client.get_workflow("again").result(timeout=10) == 2
    assert client.get_workflow("again", first.run_id).result(timeout=10) == 1


def test_a_result_that_was_never_there(client):
    with pytest.raises(WorkflowNotFoundError, match="'never'"):
        client.get_workflow("never").result(timeout=1)


def test_asynchronous_waiting(running):
    async def main():
        client = AsyncClient(running.app)
        handles = [await client.start_workflow(wait, id=f"async-{number}") for number in range(4)]
        waiting = [asyncio.create_task(handle.result(timeout=20)) for handle in handles]
        for number, handle in enumerate(handles):
            await handle.signal("go", number)
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [0, 1, 2, 3]


def test_lists_and_counts(client):
    done = client.start_workflow(wait, signals=[("go", [1])])
    done.result(timeout=10)
    open_run = client.start_workflow(wait)
    by_status = {
        status: {run.workflow_id for run in client.list_workflows(status=status)} for status in ("open", "completed")
    }
    assert open_run.id in by_status["open"]
    assert done.id in by_status["completed"]
    assert done.id not in by_status["open"]
    assert client.count_workflows()["open"] >= 1
    open_run.terminate()
