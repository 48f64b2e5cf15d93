"""Runs that follow one another: continue-as-new, retries, cron schedules, and the times that bound them."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from orchestration import Client, RetryPolicy, WorkflowHandle
from orchestration.core import events
from orchestration.errors import WorkflowFailedError, WorkflowTimedOutError
from tests.support import wait_until
from tests.support.projects import Deployment, Project

project = Project()

counter = project.workflow(
    "counter",
    """
    local workflow = require("workflow")
    local ctx = require("ctx")
    local function main(total, rounds)
        local inbox = process.inbox()
        for _ = 1, 3 do
            total = total + inbox:receive():payload():data()
        end
        if rounds > 1 then
            process.upgrade(nil, total, rounds - 1)
        end
        return { total = total, tenant = ctx.get("tenant"), pid = process.pid(), attempt = workflow.info().attempt }
    end
    return main
    """,
)

first = project.workflow("first", 'return { main = function(name) process.upgrade("app:second", name, 2) end }')
second = project.workflow("second", "return { main = function(...) return { ... } end }")
lost = project.workflow("lost", 'return { main = function() process.upgrade("app:nowhere") end }')

many_topics = project.workflow(
    "many_topics",
    """
    local time = require("time")
    local function main(round, got)
        local a = process.listen("a")
        local go = process.listen("go")
        local inbox = process.inbox()
        if round == 1 then
            go:receive()
            process.upgrade(nil, 2)
        end
        local seen = {}
        for i = 1, 3 do seen[i] = a:receive() end
        for i = 4, 6 do seen[i] = inbox:receive():payload():data() end
        return seen
    end
    return main
    """,
)

flaky = project.workflow(
    "flaky",
    """
    local workflow = require("workflow")
    local errors = require("errors")
    local function main(works_at, kind)
        local attempt = workflow.info().attempt
        if attempt < works_at then
            return nil, errors.new { message = "not yet", kind = kind or "Unavailable", retryable = true }
        end
        return attempt
    end
    return main
    """,
)

sleeper = project.workflow(
    "sleeper",
    """
    local time = require("time")
    local function main(how_long) time.sleep(how_long or "1h") return "slept" end
    return main
    """,
)

tidy = project.workflow(
    "tidy",
    """
    local errors = require("errors")
    local function main()
        local event = process.events():receive()
        return nil, errors.new { message = "cleaned up: " .. event.reason, kind = "Canceled" }
    end
    return main
    """,
)

hello = project.workflow("hello", 'return { main = function(name) return "hello " .. (name or "") end }')


def chain(client: Client, handle: WorkflowHandle) -> list[str]:
    """Statuses of the runs of a workflow, the first of them first."""
    found = []
    run_id = handle.describe().run_id
    while run_id:
        description = client.get_workflow(handle.id, run_id).describe()
        found.append(description.status)
        run_id = description.next_run_id
    return found


def test_a_workflow_continues_as_new_with_its_id_pid_context_and_unread_signals(client: Client) -> None:
    messages = [("add", [n]) for n in range(1, 10)]
    handle = client.start_workflow(counter, 0, 3, id="counting", context={"tenant": "t-1"}, signals=messages)
    result = handle.result(timeout=20)
    assert result == {"total": 45, "tenant": "t-1", "pid": handle.pid, "attempt": 1}
    assert chain(client, handle) == ["continued_as_new", "continued_as_new", "completed"]
    latest = client.get_workflow("counting").describe()
    assert latest.first_run_id == handle.run_id
    assert latest.history_length < 40
    assert latest.counters == {}, "what was unread has gone over"


def test_signals_that_were_taken_and_not_read_go_over_in_their_order(client: Client) -> None:
    messages = [("a", [1]), ("b", [4]), ("a", [2]), ("b", [5]), ("a", [3]), ("go", [])]
    handle = client.start_workflow(many_topics, 1, signals=messages)
    wait_until(lambda: handle.describe().next_run_id, message="continued")
    handle = client.get_workflow(handle.id)
    handle.signal("b", 6)
    assert handle.result(timeout=10) == [1, 2, 3, 4, 5, 6]


def test_a_workflow_continues_as_another_type(client: Client) -> None:
    handle = client.start_workflow(first, "x")
    assert handle.result(timeout=10) == ["x", 2]
    assert client.get_workflow(handle.id).describe().type == second


def test_continuing_as_a_type_that_nobody_knows_fails(client: Client) -> None:
    with pytest.raises(WorkflowFailedError, match=r"upgrade: create failed.*app:nowhere") as caught:
        client.execute_workflow(lost, timeout=10)
    assert caught.value.kind == "NotFound"


def test_whoever_waits_for_the_celery_task_gets_the_result_of_the_last_run(running: Deployment) -> None:
    running.app.finalize()
    result = running.app.send_task(first, args=["y"])
    assert result.get(timeout=10) == ["y", 2]


def test_a_failed_workflow_is_not_retried_without_a_policy(client: Client) -> None:
    handle = client.start_workflow(flaky, 2)
    with pytest.raises(WorkflowFailedError, match="not yet"):
        handle.result(timeout=10)
    assert chain(client, handle) == ["failed"]


def test_a_failed_workflow_is_retried_by_its_policy(client: Client) -> None:
    policy = RetryPolicy(initial_interval=timedelta(milliseconds=20), maximum_attempts=5)
    handle = client.start_workflow(flaky, 3, retry_policy=policy)
    assert handle.result(timeout=10) == 3
    assert chain(client, handle) == ["failed", "failed", "completed"]
    assert client.get_workflow(handle.id).describe().attempt == 3


@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy(initial_interval=timedelta(milliseconds=5), maximum_attempts=2),
        RetryPolicy(initial_interval=timedelta(milliseconds=5), non_retryable_error_types=["Broken"]),
    ],
    ids=["attempts", "kind"],
)
def test_retries_of_a_workflow_end(client: Client, policy: RetryPolicy) -> None:
    handle = client.start_workflow(flaky, 9, "Broken", retry_policy=policy)
    with pytest.raises(WorkflowFailedError, match="not yet"):
        handle.result(timeout=10)
    assert set(chain(client, handle)) == {"failed"}
    assert len(chain(client, handle)) == (policy.maximum_attempts or 1)


def test_a_cancelled_workflow_is_not_retried(client: Client) -> None:
    handle = client.start_workflow(tidy, retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=5)))
    handle.cancel("enough")
    with pytest.raises(WorkflowFailedError, match="cleaned up: enough"):
        handle.result(timeout=10)
    assert chain(client, handle) == ["cancelled"]


def test_a_cron_schedule_starts_the_next_run_when_one_has_ended(client: Client) -> None:
    handle = client.start_workflow(hello, "you", cron_schedule="* * * * * *", id="every-second", memo={"m": 1})
    assert handle.describe().starts_ms > 0, "the first run waits for the schedule too"
    wait_until(lambda: len(chain(client, handle)) >= 3, deadline_s=15, message="three runs")
    assert chain(client, handle)[:2] == ["completed", "completed"]
    latest = client.get_workflow("every-second")
    assert (latest.describe().memo, latest.describe().cron) == ({"m": 1}, "* * * * * *")
    latest.terminate("enough of it")
    with pytest.raises(WorkflowFailedError, match="terminated"):
        handle.result(timeout=10)


def test_a_bad_cron_schedule_is_refused_at_the_start(client: Client) -> None:
    with pytest.raises(ValueError, match="cron"):
        client.start_workflow(hello, cron_schedule="every day")
    with pytest.raises(ValueError, match="not both"):
        client.start_workflow(hello, cron_schedule="@daily", start_delay=timedelta(seconds=1))


def test_a_start_delay_holds_a_run_and_its_signals_back(client: Client) -> None:
    handle = client.start_workflow(counter, 0, 1, start_delay=timedelta(milliseconds=700), signals=[("add", [1])] * 2)
    handle.signal("add", 5)
    description = handle.describe()
    assert description.starts_ms - description.started_ms == 700
    assert handle.result(timeout=10)["total"] == 7
    started = next(iter(handle.history()))
    assert isinstance(started, events.Started)
    assert started.time_ms >= description.starts_ms


def test_a_countdown_delays_the_run_and_not_its_message(running: Deployment) -> None:
    running.app.finalize()
    result = running.app.send_task(hello, args=["later"], countdown=1.5)
    description = running.client.get_workflow(result.id).describe()
    assert 1_000 <= description.starts_ms - description.started_ms <= 1_500
    assert result.get(timeout=10) == "hello later"
    closed_ms = running.client.get_workflow(result.id).describe().closed_ms
    assert closed_ms >= description.starts_ms


def test_a_run_timeout_ends_a_run(client: Client) -> None:
    with pytest.raises(WorkflowTimedOutError, match=r"timed out \(run\)"):
        client.execute_workflow(sleeper, run_timeout=timedelta(milliseconds=150), timeout=10)


def test_a_run_timeout_counts_for_each_run_and_is_retried(client: Client) -> None:
    policy = RetryPolicy(initial_interval=timedelta(milliseconds=5), maximum_attempts=2)
    handle = client.start_workflow(sleeper, run_timeout=timedelta(milliseconds=150), retry_policy=policy)
    with pytest.raises(WorkflowTimedOutError):
        handle.result(timeout=10)
    assert chain(client, handle) == ["timed_out", "timed_out"]


def test_an_execution_timeout_ends_all_runs_together(client: Client) -> None:
    policy = RetryPolicy(initial_interval=timedelta(milliseconds=30), backoff_coefficient=1)
    handle = client.start_workflow(flaky, 10**6, execution_timeout=timedelta(milliseconds=600), retry_policy=policy)
    with pytest.raises(WorkflowFailedError):
        handle.result(timeout=10)
    runs = chain(client, handle)
    assert 2 <= len(runs) <= 20
    with pytest.raises(WorkflowTimedOutError, match=r"timed out \(execution\)"):
        client.execute_workflow(sleeper, execution_timeout=timedelta(milliseconds=150), timeout=10)


def test_a_timeout_can_ask_for_cancel_first(client: Client) -> None:
    options = {"run_timeout": timedelta(milliseconds=150), "cancel_grace": timedelta(seconds=20)}
    with pytest.raises(WorkflowFailedError, match=re.escape("cleaned up: workflow timed out (run)")):
        client.execute_workflow(tidy, timeout=10, **options)
    options["cancel_grace"] = timedelta(milliseconds=150)
    with pytest.raises(WorkflowTimedOutError):
        client.execute_workflow(sleeper, timeout=10, **options)


def test_a_chain_leaves_nothing_behind(client: Client, running: Deployment, tmp_path: Path) -> None:
    handle = client.start_workflow(first, "z", run_timeout=timedelta(hours=1), execution_timeout=timedelta(hours=2))
    handle.result(timeout=10)
    runs = chain(client, handle)
    assert runs == ["continued_as_new", "completed"]
    store = running.orchestration.runtime.store("default")
    keys = store.keyspace.of_run(handle.run_id)
    ids = {handle.run_id, client.get_workflow(handle.id).run_id}
    for key in (keys.timers, keys.open_runs, keys.ready):
        members = running.orchestration.runtime.connection.call("ZRANGE", key, 0, -1)
        assert not [m for m in members if m.decode().split("/")[0] in ids]
    for run_id in ids:
        for key in (keys.record(run_id), keys.extra(run_id), keys.history(run_id), keys.workflow(handle.id)):
            assert running.orchestration.runtime.connection.call("PTTL", key) != -1
