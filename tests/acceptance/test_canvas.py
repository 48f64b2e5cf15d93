"""Workflows and functions in Celery's own ways of putting tasks together."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import kombu.exceptions
import pytest
from celery import Celery, chain, chord, group
from celery.result import AsyncResult, GroupResult

from orchestration.errors import ApplicationError, WorkflowNotFoundError
from tests.support import wait_until
from tests.support.projects import Deployment, Project
from tests.support.workers import start_worker

project = Project(tasks=["tests.acceptance.canvas_tasks"], concurrency=8)
project.celery_task("add", "canvas.add")
project.entry("client", "celery.client")
project.entry("worker", "celery.worker", client="app:client", task_queue="flows")
DOUBLE = project.workflow(
    "double",
    """
    local funcs = require("funcs")
    local function main(n) return funcs.call("app:add", n, n) end
    return main
    """,
)
TOTAL = project.workflow(
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
ARGUMENTS = project.workflow("arguments", "return function(...) return { ... } end")
FAILS = project.workflow(
    "fails", "return function() return nil, errors.new({ message = 'of the workflow', kind = errors.INVALID }) end"
)
WAITS = project.workflow("waits", "return function() return process.listen('go'):receive() end")
THRICE = project.function("thrice", "return function(n) return 3 * n end")


@pytest.fixture(scope="module")
def foreign(running: Deployment) -> Iterator[Celery]:
    """An application without the extension, and a worker of it."""
    name, folder = "tests.acceptance.foreign_app", running.folder
    with start_worker(redis_url=running.redis_url, log_dir=folder, app=name, concurrency=4), Celery(
        "stranger", broker=running.redis_url, backend=running.redis_url, set_as_current=False
    ) as app:
        app.conf.task_default_queue = "foreign"
        yield app


def wf(running: Deployment, name: str) -> Any:
    return running.app.tasks[name]


def on_the_foreign_worker(running: Deployment, task: str, *args: Any) -> Any:
    return running.app.signature(task, args, queue="foreign")


def noted(running: Deployment, key: str, count: int) -> list[Any]:
    """What the callbacks with a key have been given, once there are so many."""
    read = running.app.signature("canvas.noted", (key,))

    def look() -> list[Any]:
        found = read.apply_async().get(timeout=10)
        return found if len(found) >= count else []

    return wait_until(look, every_s=0.1)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def test_a_chain_through_workflows_functions_and_tasks(running):
    step, function, add = wf(running, DOUBLE), wf(running, THRICE), running.app.signature("canvas.add", (1,))
    last = chain(step.s(1), function.s(), add, step.s()).apply_async()
    assert last.get(timeout=20) == 14
    assert [last.parent.get(timeout=10), last.parent.parent.get(10), last.parent.parent.parent.get(10)] == [7, 6, 2]
    assert [child.id for child in AsyncResult(last.parent.id, app=running.app).children] == [last.id]


def test_a_chain_ends_with_a_workflow_that_fails(running, key):
    errback = running.app.signature("canvas.note_failure", kwargs={"key": key})
    step = wf(running, DOUBLE)
    last = chain(step.s(1), wf(running, FAILS).s(), step.s()).apply_async(link_error=errback)
    with pytest.raises(ApplicationError, match="of the workflow"):
        last.get(timeout=20)
    wait_until(lambda: last.state == "FAILURE")  # Celery stores it after that of the step, which get() has met
    assert (last.parent.state, last.parent.parent.state) == ("FAILURE", "SUCCESS")
    assert ["failed", last.parent.id] in noted(running, key, 1)


def test_an_immutable_signature_takes_no_result(running):
    step, arguments = wf(running, DOUBLE), wf(running, ARGUMENTS)
    assert chain(step.s(1), arguments.si("mine"), arguments.s("more")).apply_async().get(20) == [["mine"], "more"]


def test_a_group_of_workflows_and_its_result(running):
    step = wf(running, DOUBLE)
    result = group([step.s(1), step.s(2), wf(running, THRICE).s(1)]).apply_async()
    assert result.join(timeout=20) == [2, 4, 3]
    assert (result.completed_count(), result.successful(), result.get(timeout=5)) == (3, True, [2, 4, 3])
    result.save()
    restored = GroupResult.restore(result.id, app=running.app)
    assert restored.join(timeout=10) == [2, 4, 3]
    restored.delete()
    assert GroupResult.restore(result.id, app=running.app) is None


def test_a_chord_with_workflows_in_header_and_body(running):
    step, total = wf(running, DOUBLE), wf(running, TOTAL)
    header = [step.s(1), wf(running, THRICE).s(1), running.app.signature("canvas.add", (2, 2))]
    assert chord(header, total.s()).apply_async().get(timeout=20) == 9
    assert chord(header, running.app.signature("canvas.echo")).apply_async().get(timeout=20) == [2, 3, 4]


def test_a_chord_whose_header_fails(running, key):
    errback = running.app.signature("canvas.note_failure", kwargs={"key": key})
    body = running.app.signature("canvas.echo").on_error(errback)
    result = chord([wf(running, FAILS).s(), wf(running, DOUBLE).s(1)], body).apply_async()
    with pytest.raises(Exception, match="of the workflow"):
        result.get(timeout=20)
    assert noted(running, key, 1)


def test_canvases_in_canvases(running):
    step, total, add = wf(running, DOUBLE), wf(running, TOTAL), running.app.signature("canvas.add", (1,))
    inner = chain(step.s(), group(step.s(), add), total.s())
    assert chain(running.app.signature("canvas.add", (1, 1)), inner, step.s()).apply_async().get(timeout=30) == 26
    header = [chain(step.s(1), step.s()), chord([step.s(1), step.s(2)], total.s()), group(step.s(1), step.s(1))]
    assert chord(header, running.app.signature("canvas.echo")).apply_async().get(timeout=30) == [4, 6, 2, 2]


def test_links_of_a_workflow(running, key):
    note, step = running.app.signature("canvas.note", kwargs={"key": key}), wf(running, DOUBLE)
    good = step.apply_async((21,), link=[note, step.s().set(link=note.clone())])
    assert good.get(timeout=10) == 42
    assert sorted(noted(running, key, 2)) == [[42], [84]]
    assert len(AsyncResult(good.id, app=running.app).children) == 2


def test_an_errback_that_hangs_holds_no_other_run_up(running, key):
    """It is called where the run has expired: in the sweep, which fired no timer of any run meanwhile."""
    hang = running.app.signature("canvas.hang")
    running.app.send_task(WAITS, task_id=key, countdown=300, expires=1, link_error=[hang])
    assert noted(running, key, 1) == ["TaskRevokedError"]
    late = running.client.start_workflow(ARGUMENTS, "began", start_delay=timedelta(milliseconds=500))
    try:
        assert late.result(timeout=20) == ["began"]
    finally:
        running.app.signature("canvas.release").apply_async().get(timeout=10)
    assert noted(running, key, 1) == ["TaskRevokedError"], "it was called once"


def test_a_workflow_as_link_and_as_errback(running, key):
    add, fail = running.app.signature("canvas.add"), running.app.signature("canvas.fail")
    step, arguments = wf(running, DOUBLE), wf(running, ARGUMENTS)
    linked = step.s().set(task_id=f"linked-{key}")
    add.apply_async((2, 3), link=linked)
    assert AsyncResult(f"linked-{key}", app=running.app).get(timeout=10) == 10
    errback = arguments.s().set(task_id=f"errback-{key}")
    failed = fail.apply_async(link_error=errback)
    assert AsyncResult(f"errback-{key}", app=running.app).get(timeout=10) == [failed.id]


def test_a_task_replaces_itself_by_a_workflow(running, key):
    become, step = running.app.signature("canvas.become"), wf(running, DOUBLE)
    add = running.app.signature("canvas.add", (1,))
    result = chain(become.clone(args=(None, step.s(4))), add).apply_async()
    assert result.get(timeout=20) == 9
    assert result.parent.get(timeout=5) == 8
    assert running.client.get_workflow(result.parent.id).describe().status == "completed"
    replaced = become.clone(args=(None, chain(step.s(1), step.s(), add))).apply_async()
    assert replaced.get(timeout=20) == 5


def test_a_task_that_retries_before_and_after_a_workflow(running):
    retries, step = running.app.signature("canvas.retries"), wf(running, DOUBLE)
    assert chain(retries.clone(args=(2,)), step.s(), retries).apply_async().get(timeout=20) == 4
    patient = step.s(1).set(retry=True, retry_policy={"max_retries": 2}, max_retries=5)
    assert patient.apply_async().get(timeout=10) == 2


def test_a_countdown_and_an_eta_in_a_canvas(running):
    step = wf(running, DOUBLE)
    assert chain(step.s(1).set(countdown=0.2), step.s().set(countdown=0.2)).apply_async().get(timeout=20) == 4


def test_a_result_that_nobody_wants_is_not_kept(running, key):
    step, note = wf(running, DOUBLE), running.app.signature("canvas.note", kwargs={"key": key})
    result = step.apply_async((1,), ignore_result=True, link=note)
    assert noted(running, key, 1) == [[2]]
    assert AsyncResult(result.id, app=running.app).state == "PENDING"
    assert running.client.get_workflow(result.id).result(timeout=5) == 2
    last = chain(step.s(1).set(ignore_result=True), step.s()).apply_async()
    assert last.get(timeout=10) == 4


def test_a_result_is_forgotten_and_the_run_is_not(running):
    result = wf(running, DOUBLE).delay(1)
    assert result.get(timeout=10) == 2
    result.forget()
    assert AsyncResult(result.id, app=running.app).state == "PENDING"
    assert running.client.get_workflow(result.id).result(timeout=5) == 2


def test_functions_are_tasks_like_any_other(running, key):
    function = wf(running, THRICE)
    note = running.app.signature("canvas.note", kwargs={"key": key})
    assert function.apply_async((2,), link=note).get(timeout=10) == 6
    assert noted(running, key, 1) == [[6]]
    assert chord([function.s(1), function.s(2)], function.si(5)).apply_async().get(timeout=20) == 15


def test_a_foreign_worker_sends_the_next_step_to_the_workflows_queue(running, foreign):
    """It knows neither the workflow nor where it is served: the signature does."""
    first, add = on_the_foreign_worker(running, "canvas.add", 1, 1), running.app.signature("canvas.add", (1,))
    last = chain(first, wf(running, DOUBLE).s(), wf(running, THRICE).s(), add).apply_async()
    assert last.get(timeout=20) == 13
    double, thrice, total = map(running.app.signature, (DOUBLE, THRICE, TOTAL))
    assert chain(first, double, thrice).apply_async().get(timeout=20) == 12
    nested = chain(first, group(double.clone(), thrice.clone()), total)
    assert nested.apply_async().get(timeout=20) == 10


def test_callbacks_and_chord_bodies_from_a_foreign_worker(running, foreign, key):
    first = on_the_foreign_worker(running, "canvas.add", 1, 1)
    linked = running.app.signature(DOUBLE).set(task_id=f"linked-{key}")
    first.apply_async(link=linked)
    assert AsyncResult(linked.id, app=running.app).get(timeout=15) == 4
    errback = running.app.signature(ARGUMENTS).set(task_id=f"errback-{key}")
    failed = on_the_foreign_worker(running, "canvas.fail").apply_async(link_error=errback)
    assert AsyncResult(errback.id, app=running.app).get(timeout=15) == [failed.id]
    assert chord([first.clone(), first.clone()], running.app.signature(TOTAL)).apply_async().get(timeout=20) == 4


def test_a_foreign_task_replaces_itself_by_a_workflow(running, foreign):
    become = running.app.signature("canvas.become", queue="foreign")
    assert become.clone(args=(None, wf(running, DOUBLE).s(4))).apply_async().get(timeout=20) == 8


def test_a_signature_keeps_the_queue_that_it_was_given(running):
    step = wf(running, DOUBLE)
    assert (step.s(1).options["queue"], step.si(1).options["queue"]) == ("flows", "flows")
    assert step.signature((1,)).set(queue="mine").options["queue"] == "mine"
    assert step.s(1).set(queue="mine").options["queue"] == "mine"
    result = step.s(1).apply_async(queue="nobody-listens")
    assert running.client.get_workflow(result.id).describe().task_queue == "nobody-listens"
    running.client.get_workflow(result.id).terminate()


def test_a_canvas_from_a_process_without_the_extension(running, foreign):
    """It says the queue itself."""
    first = foreign.signature("canvas.add", (1, 1), queue="foreign")
    workflow = foreign.signature(DOUBLE, queue="flows")
    assert chain(first, workflow, foreign.signature("canvas.add", (1,), queue="foreign")).apply_async().get(20) == 5
    body = workflow.clone((5,)).set(immutable=True)
    assert chord([workflow.clone((1,)), workflow.clone((2,))], body).apply_async().get(20) == 10


RICH = {
    "amount": Decimal("10.50"), "at": datetime(2026, 1, 1, tzinfo=UTC), "day": date(2026, 1, 2), "order": UUID(int=5),
    "number": 2**70, "raw": b"\xff",
}  # fmt: skip
WORDS = [f"{type(value).__name__} {value}" for value in RICH.values()]


@pytest.mark.parametrize("starter", ["the client", "a foreign worker"])
def test_the_next_task_is_called_with_the_types_that_celery_carries(
    running: Deployment, foreign: Celery, starter: str
) -> None:
    """Money stays a Decimal when a workflow stands before the task that takes it."""
    del foreign
    kinds = running.app.signature("canvas.kinds", kwargs=RICH)
    assert chain(running.app.signature("canvas.echo", (2,)), kinds).apply_async().get(timeout=20) == WORDS, "without us"
    first = [on_the_foreign_worker(running, "canvas.echo", 2)] if starter == "a foreign worker" else []
    start = wf(running, DOUBLE).s() if first else wf(running, DOUBLE).s(2)
    assert chain(*first, start, kinds).apply_async().get(timeout=20) == WORDS
    body = running.app.signature("canvas.kinds", (RICH["amount"], [RICH["order"]]))
    assert chord([start.clone(args=(2,)), start.clone(args=(3,))], body).apply_async().get(timeout=20) == [
        "Decimal 10.50", f"list [{RICH['order']!r}]",
    ]  # fmt: skip


def test_a_canvas_with_a_value_that_nobody_can_carry_is_refused_where_it_is_sent(running: Deployment) -> None:
    after = running.app.signature("canvas.kinds", ({1, 2},))
    with pytest.raises(kombu.exceptions.EncodeError, match=r"type set"):
        chain(wf(running, DOUBLE).s(2), after).apply_async(task_id="never")
    with pytest.raises(WorkflowNotFoundError):
        running.client.get_workflow("never").describe()
