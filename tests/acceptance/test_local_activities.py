"""Local activities: run inside the step that calls them, recorded with it, and ordinary ones when they take long."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from examples.ledger import Ledger
from orchestration.core import events
from orchestration.errors import WorkflowFailedError
from tests.acceptance.local_tasks import ledger_of
from tests.support import wait_until
from tests.support.projects import Deployment, Project, deployed

project = Project(tasks=["tests.acceptance.local_tasks"], concurrency=4)  # the budget is the default, a second
for task in ("work", "facts", "dies", "own_retry", "progress", "uncarried", "exits", "waits", "opens"):
    project.celery_task(task, f"local.{task}")
project.celery_task("always_local", "local.work", **{"activity.local": True})
project.celery_task("sent_away", "not.registered.here")
project.entry("python", "function.python", callable="tests.acceptance.local_callables:double")
project.function("doubled", "return function(n) return n * 2 end")
project.function("fails", 'return function() return nil, errors.new({message = "no", kind = "Conflict"}) end')

in_a_row = project.workflow(
    "in_a_row",
    """
    local funcs = require("funcs")
    local function main(calls)
        local values = {}
        for i, call in ipairs(calls) do
            local options = call.options or {}
            if options["activity.local"] == nil then options["activity.local"] = true end
            local value, err = funcs.new():with_options(options):call(call.target, table.unpack(call.args or {}))
            values[i] = err and { kind = err:kind(), message = err:message(), details = err:details() } or value
        end
        return values
    end
    return main
    """,
)
side_by_side = project.workflow(
    "side_by_side",
    """
    local funcs = require("funcs")
    local function main(target, args)
        local e, futures, values = funcs.new():with_options({ ["activity.local"] = true }), {}, {}
        for i, list in ipairs(args) do futures[i] = e:async(target, table.unpack(list)) end
        for i, future in ipairs(futures) do
            local payload, ok = future:response():receive()
            values[i] = payload:data()
        end
        return values
    end
    return main
    """,
)
gives_up = project.workflow(
    "gives_up",
    """
    local funcs, time = require("funcs"), require("time")
    local function main(subject)
        local e = funcs.new():with_options({ ["activity.local"] = true })
        local long, short = e:async("app:waits", subject), e:async("app:work", subject, "quick", 0.05)
        local payload = short:response():receive()
        long:cancel()
        local _, err = long:result()
        return { short = payload:data(), long = err:kind() }
    end
    return main
    """,
)
nothing = project.workflow("nothing", "return function() return {} end")
by_entry = project.workflow("by_entry", 'return function(s) return require("funcs").call("app:always_local", s, 5) end')


@pytest.fixture
def subject() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def ledger(running: Deployment) -> Ledger:
    return ledger_of(running.folder)


def executions(ledger: Ledger, subject: str) -> list[int]:
    """How often the bodies of a subject have run, by idempotency key."""
    return sorted(effect.asked for effect in ledger.effects(subject=subject))


def received(running: Deployment, task: str) -> int:
    """Messages of a task that the worker has taken."""
    return sum(f"Task {task}[" in line and "received" in line for line in running.workers[0].log().splitlines())


def commits(running: Deployment, handle) -> int:
    store = running.orchestration.runtime.store("default")
    return store.runs.record(handle.run_id).number("fence")


def kinds(handle) -> list[str]:
    return [type(event).__name__ for event in handle.history()]


def call(target: str, *args, **options):
    return {"target": target, "args": list(args), "options": {f"activity.{k}": v for k, v in options.items()}}


def test_local_activities_in_a_row_run_within_one_step_and_are_recorded_with_it(running, client, ledger, subject):
    before = received(running, "local.work")
    empty = client.start_workflow(nothing)
    empty.result(timeout=10)
    handle = client.start_workflow(in_a_row, [call("app:work", subject, n) for n in range(5)])
    assert handle.result(timeout=10) == [0, 1, 2, 3, 4]
    assert kinds(handle) == ["Started", *["ScheduleActivity", "ActivityCompleted"] * 5, "Complete"]
    assert [event.info for event in handle.history() if isinstance(event, events.ActivityCompleted)] == [
        {"attempt": 1, "local": True}
    ] * 5
    assert executions(ledger, subject) == [1] * 5
    assert received(running, "local.work") == before
    assert commits(running, handle) == commits(running, empty)


def test_the_entrys_own_option_makes_it_local(running, client, ledger, subject):
    before = received(running, "local.work")
    handle = client.start_workflow(by_entry, subject)
    assert handle.result(timeout=10) == 5
    assert received(running, "local.work") == before


@pytest.mark.parametrize(
    ("target", "value"), [("app:doubled", 42), ("app:python", 42)], ids=["function.lua", "function.python"]
)
def test_each_kind_of_function_can_be_local(running, client, target, value):
    handle = client.start_workflow(in_a_row, [call(target, 21)])
    assert handle.result(timeout=10) == [value]
    assert received(running, target) == 0


def test_a_task_that_is_not_registered_here_becomes_an_ordinary_activity(client):
    handle = client.start_workflow(in_a_row, [call("app:sent_away", retry_policy={"maximum_attempts": 1})])
    assert handle.result(timeout=20)[0]["kind"] == "NotFound"


def test_a_local_body_knows_its_attempt_like_any(client):
    handle = client.start_workflow(in_a_row, [call("app:facts")], context={"tenant": "t1"})
    found = handle.result(timeout=10)[0]
    assert found.pop("key")
    assert found.pop("thread").startswith("local ")
    assert found == {
        "workflow_id": handle.id, "run_id": handle.run_id, "workflow_type": in_a_row, "target": "app:facts", "seq": 1,
        "attempt": 1, "context": {"tenant": "t1"},
    }  # fmt: skip


def test_local_activities_run_side_by_side(client, ledger, subject):
    started = time.monotonic()
    args = [[subject, n, 0.25] for n in range(6)]
    assert client.start_workflow(side_by_side, "app:work", args).result(timeout=10) == list(range(6))
    assert time.monotonic() - started < 6 * 0.25
    assert executions(ledger, subject) == [1] * 6


def test_short_pauses_between_attempts_pass_inside_the_step(running, client, ledger, subject):
    before = received(running, "local.work")
    policy = {"initial_interval": "20ms"}
    handle = client.start_workflow(in_a_row, [call("app:work", subject, "fine", 0, 2, retry_policy=policy)])
    assert handle.result(timeout=10) == ["fine"]
    (done,) = [event for event in handle.history() if isinstance(event, events.ActivityCompleted)]
    assert done.info == {"attempt": 3, "local": True}
    assert executions(ledger, subject) == [3]  # one key for all attempts
    assert received(running, "local.work") == before


def test_an_attempt_that_is_far_away_is_an_ordinary_one(running, client, ledger, subject):
    before = received(running, "local.work")
    policy = {"initial_interval": "1600ms"}
    handle = client.start_workflow(in_a_row, [call("app:work", subject, "fine", 0, 1, retry_policy=policy)])
    assert handle.result(timeout=10) == ["fine"]
    assert executions(ledger, subject) == [2]
    assert received(running, "local.work") == before + 1


def test_failures_end_a_local_activity_as_the_policy_says(client, subject):
    once = {"maximum_attempts": 1}
    calls = [
        call("app:work", subject, None, 0, 9, retry_policy={"maximum_attempts": 2, "initial_interval": "10ms"}),
        call("app:fails", retry_policy=once), call("app:uncarried"), call("app:exits", retry_policy=once),
    ]  # fmt: skip
    work, fails, uncarried, exits = client.start_workflow(in_a_row, calls).result(timeout=10)
    assert (work["kind"], work["message"]) == ("Unavailable", "not yet")
    assert (work["details"]["_wrapper"], work["details"]["_activity_id"]) == ("activity", "1")
    assert (fails["kind"], fails["message"]) == ("Conflict", "no")
    assert uncarried["kind"] == "Invalid"
    assert "cannot be carried" in uncarried["message"]
    assert (exits["kind"], exits["message"]) == ("Internal", "SystemExit: 3")


def test_one_that_outlives_its_budget_becomes_an_ordinary_one_and_runs_once(running, client, ledger, subject):
    before = received(running, "local.work")
    handle = client.start_workflow(in_a_row, [call("app:work", subject, "late", 1.8)])
    wait_until(lambda: handle.describe().pending, message="the step written without the result")
    (pending,) = handle.describe().pending
    assert (pending.state, pending.attempt, pending.target) == ("claimed", 1, "app:work")
    assert handle.result(timeout=10) == ["late"]
    assert executions(ledger, subject) == [1]
    assert received(running, "local.work") == before
    assert kinds(handle) == ["Started", "ScheduleActivity", "ActivityCompleted", "Complete"]


def test_a_long_row_goes_on_in_further_steps(client, ledger, subject):
    calls = [call("app:work", subject, n, 0.25) for n in range(8)]
    handle = client.start_workflow(in_a_row, calls)
    assert handle.result(timeout=15) == list(range(8))
    assert executions(ledger, subject) == [1] * 8


def test_after_an_ordinary_activity_its_result_is_safe_before_a_local_one_begins(client, ledger, subject):
    calls = [call("app:work", subject, "ordinary", local=False), call("app:work", subject, "local")]
    handle = client.start_workflow(in_a_row, calls * 3)
    assert handle.result(timeout=15) == ["ordinary", "local"] * 3
    assert executions(ledger, subject) == [1] * 6


def test_start_to_close_bounds_a_local_activity(client, subject):
    options = {"start_to_close_timeout": "200ms", "retry_policy": {"maximum_attempts": 1}}
    (failed,) = client.start_workflow(in_a_row, [call("app:work", subject, 1, 2.5, **options)]).result(timeout=10)
    assert (failed["kind"], failed["details"]["timeout_type"]) == ("Timeout", "start_to_close")


def test_what_a_local_body_says_of_its_progress_reaches_the_next_attempt(client, ledger, subject):
    for seconds in (0, 1.5):  # within the budget and beyond
        policy = {"initial_interval": "20ms"}
        call_of = call("app:progress", f"{subject}{seconds}", seconds, retry_policy=policy)
        assert client.start_workflow(in_a_row, [call_of]).result(timeout=10) == [{"page": 7}]
        assert executions(ledger, f"{subject}{seconds}") == [2]


def test_celerys_own_retry_of_a_local_body_is_one_attempt(client, ledger, subject):
    handle = client.start_workflow(in_a_row, [call("app:own_retry", subject, 2)])
    assert handle.result(timeout=10) == [{"retries": 2, "attempt": 1}]
    assert executions(ledger, subject) == [3]


def test_a_local_activity_that_is_taken_back_is_not_waited_for(client, ledger, subject):
    handle = client.start_workflow(gives_up, subject)
    assert handle.result(timeout=10) == {"short": "quick", "long": "Canceled"}
    assert "CancelActivity" in kinds(handle)
    assert executions(ledger, subject) == [1, 1]


def test_a_run_that_ends_beside_a_local_body_does_not_wait_for_it(client, running):
    leaves = running_leaves
    started = time.monotonic()
    assert client.start_workflow(leaves, uuid.uuid4().hex).result(timeout=10) == "left"
    assert time.monotonic() - started < 5


running_leaves = project.workflow(
    "leaves",
    """
    local funcs = require("funcs")
    local function main(subject)
        local e = funcs.new():with_options({ ["activity.local"] = true })
        e:async("app:waits", subject)
        e:call("app:work", subject)
        return "left"
    end
    return main
    """,
)


def test_a_workflow_that_passes_on_the_failure_of_a_local_activity_fails_with_it(client):
    with pytest.raises(WorkflowFailedError) as caught:
        client.start_workflow(passes_on).result(timeout=10)
    assert caught.value.kind == "Conflict"


passes_on = project.workflow(
    "passes_on",
    """
    local function main()
        local options = { ["activity.local"] = true, ["activity.retry_policy"] = { maximum_attempts = 1 } }
        return require("funcs").new():with_options(options):call("app:fails")
    end
    return main
    """,
)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_killed_in_a_local_body_leaves_only_what_was_not_written_to_be_run_again(
    redis_url: str, tmp_path: Path, subject: str, pool: str
):
    """At least once: the one that died runs again, the one before it too, since their step was not written."""
    with deployed(project, tmp_path, redis_url) as deployment:
        deployment.worker(pool=pool, concurrency=2)
        calls = [
            call("app:work", f"{subject}-far", 0, local=False), call("app:work", subject, 1),
            call("app:dies", subject), call("app:work", f"{subject}-after", 2),
        ]  # fmt: skip
        handle = deployment.client.start_workflow(in_a_row, calls)
        if pool == "threads":
            deployment.workers[0].wait_until_gone()
            deployment.worker(pool=pool, concurrency=2)
        assert handle.result(timeout=30) == [0, 1, 2, 2]
        ledger = ledger_of(tmp_path)
        assert executions(ledger, subject) == [2, 2]  # the same keys in both executions
        assert executions(ledger, f"{subject}-far") == [1], "written before the local ones began"
        assert executions(ledger, f"{subject}-after") == [1]
        assert kinds(handle) == ["Started", *["ScheduleActivity", "ActivityCompleted"] * 4, "Complete"]


def test_a_soft_time_limit_ends_the_wait_for_a_local_body(redis_url: str, tmp_path: Path, subject: str):
    with deployed(project, tmp_path, redis_url) as deployment:
        deployment.worker(pool="prefork", concurrency=1, options=["--soft-time-limit=1"])
        once = {"maximum_attempts": 1}
        calls = [call("app:work", subject, 1, 3, retry_policy=once), call("app:work", subject, 2)]
        long, short = deployment.client.start_workflow(in_a_row, calls).result(timeout=20)
        assert (long["kind"], long["message"]) == ("Internal", "SoftTimeLimitExceeded: SoftTimeLimitExceeded()")
        assert short == 2


def test_a_worker_killed_while_it_runs_one_that_has_become_ordinary(redis_url: str, tmp_path: Path, subject: str):
    with deployed(project, tmp_path, redis_url) as deployment:
        first = deployment.worker(concurrency=2)
        policy = {"initial_interval": "20ms"}
        calls = [call("app:work", f"{subject}-done", 1), call("app:work", subject, 2, 2, retry_policy=policy)]
        handle = deployment.client.start_workflow(in_a_row, calls)
        wait_until(lambda: handle.describe().pending, message="the step written")
        first.kill()
        deployment.worker(concurrency=2)
        assert handle.result(timeout=30) == [1, 2]
        ledger = ledger_of(tmp_path)
        assert executions(ledger, subject) == [2]
        assert executions(ledger, f"{subject}-done") == [1]
