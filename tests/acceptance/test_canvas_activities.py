"""Canvases as activities, and keyword arguments of Celery tasks."""

from __future__ import annotations

import importlib

import pytest

from tests.support.projects import Project
from tests.support.workers import start_worker

project = Project(tasks=["tests.acceptance.canvas_tasks"], concurrency=4)
FACTORIES = "tests.acceptance.canvas_factories"
for name in ("one", "row", "fan", "fan_in", "nested", "fails_in", "lost_in", "nothing", "missing"):
    project.entry(name, "function.celery", canvas=f"{FACTORIES}:{name}")
project.entry("with_names", "function.celery", canvas=f"{FACTORIES}:with_names", kwargs=True)
project.entry("described", "function.celery", task="canvas.describe", kwargs=True)
project.entry("described_here", "function.celery", task="canvas.describe", kwargs=True, meta={
    "options": {"activity.local": True},
})  # fmt: skip
project.entry("plain", "function.celery", task="canvas.describe")
CALLS = project.workflow(
    "calls",
    """
    local funcs = require("funcs")
    local function main(target, ...)
        local value, err = funcs.new():with_options({ ["activity.retry_policy"] = { maximum_attempts = 1 } })
            :call("app:" .. target, ...)
        if err then
            return { kind = err:kind(), message = err:message() }
        end
        return value
    end
    return main
    """,
)
FUNCTION = project.function(
    "from_function",
    """
    local funcs = require("funcs")
    return function(target, ...) return funcs.call("app:" .. target, ...) end
    """,
)


@pytest.fixture(scope="module")
def foreign(running):
    name, folder = "tests.acceptance.foreign_app", running.folder
    with start_worker(redis_url=running.redis_url, log_dir=folder, app=name, concurrency=4) as worker:
        yield worker


def call(running, *args, timeout=8):
    return running.client.start_workflow(CALLS, *args).result(timeout=timeout)


@pytest.mark.parametrize(("canvas", "args", "result"), [
    ("one", (1, 2), 3),
    ("row", (1,), 112),
    ("fan", ([1, 2, 3],), [2, 3, 4]),
    ("fan", ([1],), [2]),
    ("fan", ([],), []),
    ("fan_in", ([1, 2, 3],), 9),
    ("nested", ([1, 2],), [6, 10]),
    ("with_names", ({"left": 1, "right": 4},), 5),
])  # fmt: skip
def test_a_canvas_is_one_activity(running, foreign, canvas, args, result):
    assert call(running, canvas, *args) == result


def test_its_tasks_belong_to_the_run_and_it_is_one_event(running, foreign):
    handle = running.client.start_workflow(CALLS, "row", 1)
    assert handle.result(timeout=8) == 112
    assert [type(event).__name__ for event in handle.history()].count("ScheduleActivity") == 1


@pytest.mark.parametrize("where", ["one", "row", "group", "header", "body"])
def test_a_member_that_fails_fails_the_activity(running, foreign, where):
    assert "of the task" in call(running, "fails_in", where)["message"]


@pytest.mark.parametrize("what", ["unknown", "expired"])
def test_a_member_that_is_lost_fails_the_activity(running, foreign, what):
    """Celery calls nobody: the result backend tells."""
    failure = call(running, "lost_in", what, timeout=45)
    assert failure["kind"] in ("NotFound", "Canceled")


def test_a_factory_that_makes_no_canvas_is_told(running, foreign):
    failure = call(running, "nothing")
    assert (failure["kind"], "not a signature, chain, group or chord" in failure["message"]) == ("Invalid", True)
    assert "canvas_factories:missing" in call(running, "missing")["message"]


def test_outside_workflows_a_canvas_is_a_task_that_becomes_it(running, foreign):
    assert running.client.call("app:row", 1, timeout=20) == 112
    assert running.client.call("app:fan", [1, 2], timeout=20) == [2, 3]
    assert running.app.tasks["app:fan_in"].delay([1, 2]).get(timeout=20) == 5
    assert running.client.call(FUNCTION, "row", 1, timeout=20) == 112


@pytest.mark.parametrize("target", ["described", "described_here"])
def test_a_last_table_with_names_becomes_keyword_arguments(running, foreign, target):
    assert call(running, target, 1, {"rate": 2}) == {"args": [1], "kwargs": {"rate": 2}}
    assert call(running, target, 1, [2]) == {"args": [1, [2]], "kwargs": {}}
    assert call(running, "plain", 1, {"rate": 2}) == {"args": [1, {"rate": 2}], "kwargs": {}}


def test_keyword_arguments_from_functions_and_clients(running, foreign):
    assert running.client.call(FUNCTION, "described", 1, {"rate": 2}, timeout=15)["kwargs"] == {"rate": 2}
    assert running.client.call("app:described", {"rate": 2}, timeout=15) == {"args": [], "kwargs": {"rate": 2}}
    with pytest.raises(TypeError, match="with_names"):
        running.client.call("app:with_names", 1, timeout=15)


def test_a_canvas_entry_runs_at_once_where_tasks_do(running):
    importlib.import_module("tests.acceptance.canvas_tasks")
    assert running.app.tasks["app:row"].apply((1,)).get() == 112
    assert running.app.tasks["app:fan"].apply(([1, 2],)).get() == [2, 3]
