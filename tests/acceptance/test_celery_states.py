"""What Celery shows of a workflow that has not ended, and how long its keys live."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import pytest
from celery import chain, chord
from celery.result import AsyncResult

from orchestration.tasks.states import WAITING, StateKeeper
from tests.support import wait_until
from tests.support.projects import Deployment, Project

project = Project(
    tasks=["tests.acceptance.canvas_tasks"], concurrency=4,
    env={"ORCHESTRATION_STATE_AFTER_MS": "50", "ORCHESTRATION_TEST_RESULT_EXPIRES": "3"},
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
        time.sleep("2s")
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


def test_a_state_lives_as_long_as_its_run(running):
    """The key would expire after three seconds."""
    result = running.app.tasks[ONE].delay()
    waiting(running, result)
    time.sleep(4.5)
    assert result.state == WAITING
    running.client.get_workflow(result.id).signal("go", "on")
    assert result.get(timeout=10) == "on"


@pytest.mark.parametrize("header", ["member", "before_a_member", "with_a_group"])
def test_a_chord_waits_longer_than_its_keys_would_live(running, header):
    add, long = running.app.signature("canvas.add", (1, 1)), running.app.tasks[LONG]
    members = {
        "member": [long.s(5, "5s"), add],
        "before_a_member": [chain(long.s(5, "5s"), running.app.signature("canvas.add", (0,))), add],
        "with_a_group": [chain(long.s(5, "5s"), running.app.tasks[LONG].s(0)), add],
    }
    result = chord(members[header], running.app.signature("canvas.echo")).apply_async()
    assert result.get(timeout=30) == [5, 2]


def test_a_chord_whose_member_begins_late(running):
    late = running.app.tasks[LONG].s(1, 0).set(countdown=5)
    result = chord([late, running.app.signature("canvas.add", (1, 1))], running.app.signature("canvas.echo"))
    assert result.apply_async().get(timeout=30) == [1, 2]


def test_the_state_follows_the_runs_of_a_workflow(running):
    result = running.app.tasks[AGAIN].delay(2)
    first = waiting(running, result)["run_id"]
    wait_until(lambda: result.state == WAITING and result.info["run_id"] != first)
    assert result.get(timeout=15) == "done"


def test_a_result_that_nobody_wants_has_no_state(running):
    quiet = running.app.tasks[ONE].apply_async(ignore_result=True)
    other = running.app.tasks[ONE].delay()
    waiting(running, other)
    time.sleep(1.2)
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
