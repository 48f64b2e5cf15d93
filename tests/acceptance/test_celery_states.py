"""What Celery shows of a workflow that has not ended, and how long its keys live."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from celery import chain, chord
from celery.result import AsyncResult

from orchestration.tasks.states import WAITING, StateKeeper
from tests.support import wait_until
from tests.support.projects import Deployment, Project

project = Project(
    tasks=["tests.acceptance.canvas_tasks"], concurrency=4,
    env={"ORCHESTRATION_STATE_AFTER_MS": "50", "ORCHESTRATION_TEST_RESULT_EXPIRES": "4"},
)  # fmt: skip
project.celery_task("add", "canvas.add")
WAITS = project.workflow(
    "waits",
    """
    local function main(name)
        local inbox = process.listen(name or "go")
        local first = inbox:receive()
        time.sleep("1h")
        return first
    end
    return main
    """,
)
ONE = project.workflow("one", "return function() return process.listen('go'):receive() end")
LONG = project.workflow("long", "return function(n, s) time.sleep(s) return n end")
AGAIN = project.workflow(
    "again",
    """
    local function main(round)
        if round == 0 then return "done" end
        time.sleep("1500ms")
        return process.upgrade(nil, round - 1)
    end
    return main
    """,
)


def waiting(running: Deployment, result: AsyncResult, **info: Any) -> dict[str, Any]:
    """The info of a task, once its state is ours and it has these values."""

    def look() -> dict[str, Any] | None:
        meta = result.backend.get_task_meta(result.id)
        found = meta["result"] if meta["status"] == WAITING else {}
        return found if found and all(found[name] == value for name, value in info.items()) else None

    return wait_until(look, message=lambda: str(result.backend.get_task_meta(result.id)))


def test_a_suspended_workflow_says_what_it_waits_for(running):
    result = running.app.tasks[WAITS].delay("letters")
    handle = running.client.get_workflow(result.id)
    info = waiting(running, result)
    assert (info["workflow_id"], info["run_id"], info["status"]) == (result.id, handle.run_id, "running")
    (place,) = info["waits"]
    assert ("letters" in place["for"], place["at"].startswith("waits.lua:")) == (True, True)
    since = dt.datetime.fromisoformat(place["since"])
    assert abs((dt.datetime.now(dt.UTC) - since).total_seconds()) < 60
    assert info["step"] == handle.describe().history_length
    handle.signal("letters", "a")
    wait_until(lambda: result.info["step"] > info["step"])
    assert "sleep" in result.info["waits"][0]["for"]
    assert (result.state, result.ready(), result.status) == (WAITING, False, WAITING)
    handle.terminate()
    wait_until(result.ready)
    assert result.state == "FAILURE"


def test_states_and_chords_live_as_long_as_their_workflows(running):
    """The keys would expire after four seconds; all of them are waited for at the same time."""
    add, long, echo = running.app.signature("canvas.add", (1, 1)), running.app.tasks[LONG], "canvas.echo"
    headers = {
        "a member": [long.s(5, "6s"), add],
        "what leads to a member": [chain(long.s(5, "6s"), running.app.signature("canvas.add", (0,))), add],
        "with a function of its result": [chain(long.s(5, "6s"), long.s(0)), add],
        "a member that begins late": [long.s(5, 0).set(countdown=6), add],
    }
    chords = {name: chord(header, running.app.signature(echo)).apply_async() for name, header in headers.items()}
    waits = running.app.tasks[ONE].delay()
    waiting(running, waits)
    for name, result in chords.items():
        assert result.get(timeout=30) == [5, 2], name
    assert waits.state == WAITING
    running.client.get_workflow(waits.id).signal("go", "on")
    assert waits.get(timeout=10) == "on"


def test_the_state_follows_the_runs_of_a_workflow(running):
    result = running.app.tasks[AGAIN].delay(2)
    first = waiting(running, result)["run_id"]
    wait_until(lambda: result.state == WAITING and result.info["run_id"] != first)
    assert result.get(timeout=15) == "done"


def test_a_result_that_nobody_wants_has_no_state(running):
    quiet = running.app.tasks[ONE].apply_async(ignore_result=True)
    handle = running.client.get_workflow(quiet.id)
    wait_until(lambda: handle.describe().places)
    store = running.orchestration.runtime.store(handle.namespace)
    shown = store.keyspace.of_run(handle.run_id).shown
    assert store.connection.call("ZSCORE", shown, handle.run_id) is None
    other = running.app.tasks[ONE].delay()
    waiting(running, other)
    assert AsyncResult(quiet.id, app=running.app).state == "PENDING"
    for result in (quiet, other):
        running.client.get_workflow(result.id).terminate()


def test_a_state_that_comes_late_does_not_take_the_place_of_the_outcome(running):
    """Whoever writes it has read the run before its end."""
    result = running.app.tasks[ONE].delay()
    handle = running.client.get_workflow(result.id)
    waiting(running, result)
    runtime = running.orchestration.runtime
    store = runtime.store(handle.namespace)
    record = store.runs.record(handle.run_id, extra=True)
    handle.terminate("enough")
    wait_until(lambda: result.state == "FAILURE")
    StateKeeper(runtime)._refresh(store, record)
    assert result.state == "FAILURE"


def test_a_state_that_was_left_in_the_place_of_an_outcome_is_put_right(running):
    """A backend without transactions, and a writer that died between its look and its next."""
    result = running.app.tasks[ONE].delay()
    handle = running.client.get_workflow(result.id)
    waiting(running, result)
    store = running.orchestration.runtime.store(handle.namespace)
    handle.terminate("enough")
    wait_until(lambda: result.state == "FAILURE")
    result = AsyncResult(result.id, app=running.app)  # the other one remembers
    result.backend.store_result(result.id, {"step": 1}, WAITING)
    assert result.state == WAITING
    store.shown.put(handle.run_id, after_ms=1)
    wait_until(lambda: result.state == "FAILURE")
    with pytest.raises(Exception, match="terminated"):
        result.get(timeout=5)
