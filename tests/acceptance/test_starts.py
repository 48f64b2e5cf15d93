"""Every way of starting a workflow: the run is written first, and started once."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from celery import Celery, chain, chord, group

from orchestration.errors import ApplicationError, WorkflowTimedOutError
from tests.support import wait_until
from tests.support.projects import Project

project = Project(tasks=["tests.acceptance.tasks"], concurrency=8)
for task in ("add", "echo"):
    project.celery_task(task, f"accept.{task}")
project.entry("client", "celery.client")
project.entry("worker", "celery.worker", client="app:client", task_queue="flows")
double = project.workflow(
    "double",
    """
    local funcs = require("funcs")
    local function main(n) return funcs.call("app:add", n, n) end
    return main
    """,
)
total = project.workflow(
    "total",
    """
    local function main(numbers)
        local sum = 0
        for _, n in ipairs(numbers) do sum = sum + n end
        return sum
    end
    return main
    """,
)
arguments = project.workflow(
    "arguments",
    """
    local function main(...)
        return { n = select("#", ...), last = ({ ... })[select("#", ...)] }
    end
    return main
    """,
)
wait = project.workflow(
    "wait",
    """
    local function main() return process.listen("go"):receive() end
    return main
    """,
)
named = project.workflow(
    "named_entry",
    "return function() return 'by its type name' end",
    meta={"temporal": {"workflow": {"name": "short.name"}}},
)
parent = project.workflow(
    "parent",
    """
    local function main(n)
        local value, err = process.exec("app:double", "app:worker", n)
        if err then return nil, err end
        return value
    end
    return main
    """,
)
context = project.workflow(
    "context",
    """
    local ctx = require("ctx")
    local function main() return ctx.get("tenant") end
    return main
    """,
)


def task(running, name):
    return running.app.tasks[name]


def test_the_run_is_written_before_anything_is_published(running):
    """With no worker to have seen the message, the run is there already."""
    result = task(running, wait).apply_async(queue="nobody-listens")
    description = running.client.get_workflow(result.id).describe()
    assert (description.status, description.task_queue, description.unread) == ("running", "nobody-listens", 1)
    running.client.get_workflow(result.id).terminate()


def test_positional_keyword_and_both(running):
    arguments_task = task(running, arguments)
    assert arguments_task.delay().get(timeout=10) == {"n": 0}
    assert arguments_task.delay(1, 2, 3).get(timeout=10) == {"n": 3, "last": 3}
    assert arguments_task.delay(a=1).get(timeout=10) == {"n": 1, "last": {"a": 1}}
    assert arguments_task.delay(1, None, b=2).get(timeout=10) == {"n": 3, "last": {"b": 2}}


def test_a_task_id_of_ones_own(running):
    task_id = f"order/{uuid.uuid4().hex} ñ"
    assert task(running, double).apply_async((4,), task_id=task_id).get(timeout=10) == 8
    assert running.client.get_workflow(task_id).describe().status == "completed"


def test_a_countdown_keeps_the_run_waiting(running):
    result = task(running, double).apply_async((4,), countdown=0.5)
    assert result.get(timeout=15) == 8


def test_a_chain_through_workflows(running):
    step = task(running, double)
    assert chain(step.s(1), step.s(), running.app.signature("accept.add", (1,)), step.s()).apply_async().get(20) == 10


def test_each_step_of_a_chain_has_its_result(running):
    step = task(running, double)
    last = chain(step.s(1), step.s(), step.s()).apply_async()
    assert last.get(timeout=20) == 8
    assert (last.parent.get(timeout=10), last.parent.parent.get(timeout=10)) == (4, 2)


def test_a_group_of_workflows(running):
    step = task(running, double)
    assert group(step.s(n) for n in range(8)).apply_async().get(timeout=20) == [2 * n for n in range(8)]


@pytest.mark.parametrize("body", [total, "accept.echo"])
def test_a_chord_with_workflows_in_its_header_and_as_its_body(running, body):
    step = task(running, double)
    result = chord((step.s(n) for n in range(6)), running.app.signature(body)).apply_async()
    assert result.get(timeout=20) in (30, [0, 2, 4, 6, 8, 10])


def test_link_and_link_error(running):
    signature = running.app.signature
    good = task(running, double).apply_async((21,), link=signature("accept.remember", ("linked",)))
    assert good.get(timeout=10) == 42
    failed = task(running, total).apply_async((7,), link_error=signature("accept.remember_failure"))
    with pytest.raises(ApplicationError, match="attempt to index"):
        failed.get(timeout=10)

    def remembered():
        return sorted(signature("accept.remembered").apply_async().get(timeout=10), key=str)

    expected = sorted([[42, "linked"], ["failed", failed.id]], key=str)
    wait_until(lambda: remembered() == expected, every_s=0.2, message=lambda: str(remembered()))


def test_a_start_from_an_application_that_has_never_heard_of_us(running):
    """As safe as the broker: the worker writes the run when it gets the message."""
    with Celery("foreign", broker=running.redis_url, backend=running.redis_url, set_as_current=False) as foreign:
        result = foreign.send_task(double, args=[5], queue="flows")
        assert result.get(timeout=10) == 10
        again = foreign.send_task(double, args=[99], task_id=result.id, queue="flows")  # delivered twice, say
        assert again.get(timeout=10) == 10
        by_name = foreign.send_task(arguments, kwargs={"a": 1}, queue="flows")
        assert by_name.get(timeout=10) == {"n": 1, "last": {"a": 1}}
    (run,) = [run for run in running.client.list_workflows() if run.workflow_id == result.id]
    assert run.status == "completed"


def test_a_type_name_of_its_own(running):
    assert running.client.start_workflow("short.name").result(timeout=10) == "by its type name"
    assert running.app.send_task(named).get(timeout=10) == "by its type name"


def test_a_workflow_waits_for_another(running):
    assert running.client.start_workflow(parent, 8).result(timeout=15) == 16


def test_context_values_are_given_with_the_start(running):
    assert running.client.start_workflow(context, context={"tenant": "t-9"}).result(timeout=10) == "t-9"


def test_a_run_timeout_ends_the_run(running):
    handle = running.client.start_workflow(wait, run_timeout=timedelta(milliseconds=300))
    with pytest.raises(WorkflowTimedOutError, match="timed out"):
        handle.result(timeout=10)
    assert handle.describe().status == "timed_out"


def test_startup_messages_reach_a_run_that_is_open_already(running):
    handle = running.client.start_workflow(wait, id="open-already")
    running.client.start_workflow(wait, id="open-already", id_conflict_policy="use_existing", signals=[("go", ["hi"])])
    assert handle.result(timeout=10) == "hi"


def test_the_workers_queue_of_the_entry_is_served_without_being_named(running):
    handle = running.client.start_workflow(double, 1)
    assert handle.describe().task_queue == "flows"
    assert handle.result(timeout=10) == 2
