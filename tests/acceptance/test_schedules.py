"""Schedules with a real Redis and a real worker: fired by any worker, each time once, as their policies say."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestration import AsyncClient, Client, RetryPolicy, ScheduleAction, SchedulePolicy, ScheduleSpec
from orchestration.client import ScheduleDescription, ScheduleHandle
from orchestration.errors import (
    EntryNotFoundError,
    PayloadTooLargeError,
    ScheduleAlreadyExistsError,
    ScheduleNotFoundError,
)
from tests.support import wait_until
from tests.support.projects import Project

project = Project(env={"ORCHESTRATION_SWEEP_INTERVAL_MS": "100"})
stamp = project.workflow(
    "stamp",
    """
    local ctx = require("ctx")
    local function main(name)
        return {name = name, id = ctx.get("schedule.id"), time = ctx.get("schedule.time"), who = ctx.get("who")}
    end
    return main
    """,
)
hold = project.workflow(
    "hold",
    """
    local function main()
        local inbox = process.inbox()
        inbox:receive()
        return "let go"
    end
    return main
    """,
    modules=["workflow", "process"],
)
again = project.workflow(
    "again",
    """
    local function main(left)
        if left > 0 then return process.upgrade(nil, left - 1) end
        process.inbox():receive()
        return "the last"
    end
    return main
    """,
    modules=["workflow", "process"],
)
fail = project.workflow("fail", 'return function() error("not today") end')

YEARLY = ScheduleSpec(cron="0 0 1 1 *")
"""Never due while the tests run: what happens is asked for."""

_numbers = itertools.count(1)


def make(client: Client, workflow_type: str = stamp, spec: ScheduleSpec = YEARLY, **options: Any) -> ScheduleHandle:
    """A schedule with a fresh id; ``policy`` and ``action`` take their fields."""
    action = ScheduleAction(workflow_type=workflow_type, **options.pop("action", {}))
    policy = SchedulePolicy(**options.pop("policy", {}))
    return client.create_schedule(f"s{next(_numbers)}", spec=spec, action=action, policy=policy, **options)


def until(handle: ScheduleHandle, **wanted: Any) -> ScheduleDescription:
    """Wait until the counters and numbers of a schedule are these; ``running`` is how many are."""

    def seen() -> ScheduleDescription | None:
        found = handle.describe()
        facts = {**found.counters, "running": len(found.running), "buffered": found.buffered, "paused": found.paused}
        return found if all(facts.get(name, 0) == value for name, value in wanted.items()) else None

    return wait_until(seen, message=lambda: f"{wanted} in {handle.describe()}")


def test_schedule_fires_at_its_times_and_the_workflow_sees_its_nominal_time(client: Client) -> None:
    handle = make(
        client, spec=ScheduleSpec(interval=timedelta(seconds=1), max_actions=2),
        action={"args": ["daily"], "context": {"who": "Ana"}, "workflow_id_prefix": "tick"},
    )  # fmt: skip
    found = until(handle, started=2, running=0)
    assert found.remaining == 0
    assert found.next_times == ()
    for run in found.recent:
        nominal = datetime.fromtimestamp(run.nominal_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert run.workflow_id == f"tick-{nominal}"
        assert run.origin == "schedule"
        result = client.get_workflow(run.workflow_id).result(timeout=10)
        assert result == {"name": "daily", "id": handle.id, "time": nominal, "who": "Ana"}
        lateness = client.get_workflow(run.workflow_id).describe().started_ms - run.nominal_ms
        assert 0 <= lateness < 3_000
    assert found.recent[0].nominal_ms - found.recent[1].nominal_ms == 1_000


def test_cron_with_seconds_fires(client: Client) -> None:
    handle = make(client, spec=ScheduleSpec(cron="* * * * * *", time_zone="Europe/Berlin", max_actions=1))
    assert until(handle, started=1).recent[0].nominal_ms % 1000 == 0


def test_end_of_a_run_starts_what_waits_for_it_at_once(client: Client) -> None:
    handle = make(client, hold, policy={"overlap": "buffer_all"})
    for _ in range(3):
        handle.trigger()
    for number in range(1, 4):
        found = until(handle, started=number, buffered=3 - number, running=1)
        client.get_workflow(found.running[0].workflow_id).signal("go")
        let_go = time.monotonic()
    until(handle, started=3, running=0)
    assert time.monotonic() - let_go < 5


def test_run_that_continues_as_new_counts_as_open_until_the_last_of_them_ends(client: Client) -> None:
    handle = make(client, again, action={"args": [2]}, policy={"overlap": "buffer_one"})
    handle.trigger()
    (run,) = until(handle, started=1, running=1).running
    workflow = client.get_workflow(run.workflow_id)
    wait_until(lambda: workflow.run_id != run.run_id and not client.get_workflow(run.workflow_id).describe().closed_ms)
    handle.trigger()
    until(handle, started=1, buffered=1, running=1)
    wait_until(lambda: workflow.describe().places)
    workflow.signal("go")
    until(handle, started=2, buffered=0)


def test_terminate_other_ends_the_run_that_has_taken_the_first_ones_place(client: Client) -> None:
    handle = make(client, again, action={"args": [1]}, policy={"overlap": "terminate_other"})
    handle.trigger()
    (run,) = until(handle, started=1, running=1).running
    workflow = client.get_workflow(run.workflow_id)
    wait_until(lambda: workflow.run_id != run.run_id)
    handle.trigger()
    until(handle, started=2, running=1)
    assert workflow.describe().status == "terminated"


def test_options_of_the_action_reach_the_run(client: Client) -> None:
    retry = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)
    handle = make(
        client, fail,
        action={
            "memo": {"for": "Ana"}, "search": {"team": "billing"}, "retry_policy": retry, "summary": "nightly",
            "run_timeout": timedelta(minutes=1), "execution_timeout": timedelta(minutes=2),
        },
        policy={"overlap": "buffer_one"},
    )  # fmt: skip
    handle.trigger()
    (run,) = until(handle, started=1, running=0).recent
    seen = client.get_workflow(run.workflow_id).describe()
    assert (seen.memo, seen.search, seen.status) == ({"for": "Ana"}, {"team": "billing"}, "failed")
    assert seen.run_id != run.run_id  # a second attempt


def test_code_that_only_the_workers_of_a_queue_know_is_started_for_them(client: Client) -> None:
    handle = make(client, "elsewhere:job", action={"task_queue": "elsewhere"})
    handle.trigger()
    (run,) = until(handle, started=1, running=1).running
    assert client.get_workflow(run.workflow_id).describe().task_queue == "elsewhere"


def test_skip_and_buffer_one_with_open_runs(client: Client) -> None:
    skipping = make(client, hold, policy={"overlap": "skip"})
    skipping.trigger()
    until(skipping, started=1)
    skipping.trigger()
    skipping.trigger(overlap="buffer_one")
    skipping.trigger(overlap="buffer_one")
    found = until(skipping, started=1, skipped=2, buffered=1)
    client.get_workflow(found.running[0].workflow_id).signal("go")
    until(skipping, started=2, buffered=0)


def test_cancel_other_waits_for_the_end_of_the_cancelled_run(client: Client) -> None:
    handle = make(client, hold, policy={"overlap": "cancel_other"})
    handle.trigger()
    first = until(handle, started=1).running[0]
    handle.trigger()
    until(handle, started=1, buffered=1)
    workflow = client.get_workflow(first.workflow_id)
    wait_until(lambda: "CancelRequested" in [type(event).__name__ for event in workflow.history()])
    assert handle.describe().counters == {"started": 1}
    workflow.signal("go")  # it decides itself when to end
    found = until(handle, started=2, buffered=0)
    assert workflow.describe().closed_ms
    assert found.running[0].workflow_id != first.workflow_id


def test_terminate_other_ends_the_open_run_and_starts(client: Client) -> None:
    handle = make(client, hold, policy={"overlap": "terminate_other"})
    handle.trigger()
    first = until(handle, started=1).running[0]
    handle.trigger()
    found = until(handle, started=2)
    assert client.get_workflow(first.workflow_id).describe().status == "terminated"
    assert [run.workflow_id for run in found.running] != [first.workflow_id]


def test_allow_all_starts_beside_open_runs(client: Client) -> None:
    handle = make(client, hold, policy={"overlap": "allow_all"})
    handle.trigger()
    handle.trigger()
    until(handle, started=2, running=2)


def test_pause_resume_and_trigger_while_paused(client: Client) -> None:
    handle = make(client, spec=ScheduleSpec(interval=timedelta(seconds=1)), paused=True, note="not yet")
    handle.trigger()
    found = until(handle, started=1, paused=True)
    assert (found.note, found.next_times) == ("not yet", ())
    assert found.recent[0].origin == "trigger"
    handle.resume("go")
    wait_until(lambda: handle.describe().counters["started"] >= 2)
    handle.pause("enough")
    found = handle.describe()
    assert (found.paused, found.note) == (True, "enough")


def test_backfill_starts_every_time_of_a_stretch_one_after_the_other(client: Client) -> None:
    handle = make(client, spec=ScheduleSpec(cron="0 12 * * *"))
    handle.backfill(datetime(2020, 2, 28, tzinfo=UTC), datetime(2020, 3, 1, 12, tzinfo=UTC))
    found = until(handle, started=3, running=0)
    times = [run.workflow_id.removeprefix(f"{handle.id}-") for run in reversed(found.recent)]
    assert times == ["2020-02-28T12:00:00Z", "2020-02-29T12:00:00Z", "2020-03-01T12:00:00Z"]
    assert {run.origin for run in found.recent} == {"backfill"}
    handle.backfill(datetime(2020, 2, 28, tzinfo=UTC), datetime(2020, 2, 29, tzinfo=UTC), overlap="allow_all")
    until(handle, started=4)  # a second backfill of the same time is another run


def test_pause_on_failure(client: Client) -> None:
    handle = make(client, fail, policy={"pause_on_failure": True})
    handle.trigger()
    found = until(handle, started=1, paused=True)
    assert found.note == f"paused because run {found.recent[0].workflow_id} has failed"
    assert found.recent[0].status == "failed"


def test_update_changes_what_is_started_and_keeps_the_rest(client: Client) -> None:
    handle = make(client, hold, policy={"overlap": "allow_all"})
    handle.update(action=ScheduleAction(workflow_type=stamp, args=["new"]))
    handle.trigger()
    found = until(handle, started=1, running=0)
    assert client.get_workflow(found.recent[0].workflow_id).result(timeout=5)["name"] == "new"
    assert found.policy.overlap == "allow_all"
    handle.update(spec=ScheduleSpec(cron="@daily", max_actions=7))
    assert handle.describe().remaining == 7


def test_delete_leaves_open_runs_alone(client: Client) -> None:
    handle = make(client, hold)
    handle.trigger()
    run = until(handle, started=1).running[0]
    handle.delete()
    with pytest.raises(ScheduleNotFoundError):
        handle.describe()
    workflow = client.get_workflow(run.workflow_id)
    workflow.signal("go")
    assert workflow.result(timeout=10) == "let go"


def test_same_id_again_and_unknown_ids_are_refused(client: Client) -> None:
    handle = make(client)
    with pytest.raises(ScheduleAlreadyExistsError, match=handle.id):
        client.create_schedule(handle.id, spec=YEARLY, action=ScheduleAction(workflow_type=stamp))
    unknown = client.get_schedule("nobody")
    for act in (
        unknown.describe, unknown.pause, unknown.resume, unknown.trigger, unknown.delete,
        lambda: unknown.update(spec=YEARLY),
        lambda: unknown.backfill(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC)),
    ):  # fmt: skip
        with pytest.raises(ScheduleNotFoundError, match="nobody"):
            act()


def test_bad_input_gets_one_clear_error_and_makes_nothing(client: Client) -> None:
    before = len(client.list_schedules(limit=1000))
    action = ScheduleAction(workflow_type=stamp)
    with pytest.raises(EntryNotFoundError, match="stamp"):
        client.create_schedule("bad", spec=YEARLY, action=ScheduleAction(workflow_type="app:stmap"))
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        client.create_schedule("", spec=YEARLY, action=action)
    with pytest.raises(ValueError, match="workflow_id_prefix"):
        client.create_schedule("x" * 255, spec=YEARLY, action=action)
    with pytest.raises(PayloadTooLargeError):
        client.create_schedule("bad", spec=YEARLY, action=ScheduleAction(workflow_type=stamp, args=["x" * 3_000_000]))
    handle = make(client)
    with pytest.raises(ValueError, match="overlap policy"):
        handle.trigger(overlap="twice")
    with pytest.raises(ValueError, match="before the start"):
        handle.backfill(datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="not come yet"):
        handle.backfill(datetime(2020, 1, 2, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(ValueError, match="time zone"):
        handle.backfill(datetime(2020, 1, 2), datetime(2020, 1, 3))  # noqa: DTZ001 - that is what is refused
    assert len(client.list_schedules(limit=1000)) == before + 1


def test_list_is_in_pages_by_prefix(client: Client) -> None:
    for name in ("page/a", "page/b", "page/c"):
        client.create_schedule(name, spec=YEARLY, action=ScheduleAction(workflow_type=stamp))
    first = client.list_schedules(prefix="page/", limit=2)
    assert [item.id for item in first] == ["page/a", "page/b"]
    assert [item.id for item in client.list_schedules(prefix="page/", after="page/b")] == ["page/c"]


def test_workflow_id_in_use_is_told_and_the_schedule_goes_on(client: Client) -> None:
    handle = make(client, spec=ScheduleSpec(cron="0 12 * * *"))
    client.start_workflow(hold, id=f"{handle.id}-2020-01-01T12:00:00Z")
    handle.backfill(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC))
    found = until(handle, started=1, refused=1)
    assert "has been started already" in found.recent[-1].problem


def test_async_client(running: Any) -> None:
    async def go() -> None:
        client = AsyncClient(running.app)
        handle = await client.create_schedule("async", spec=YEARLY, action=ScheduleAction(workflow_type=stamp))
        await handle.pause("a")
        await handle.resume("b")
        await handle.update(policy=SchedulePolicy(overlap="allow_all"))
        await handle.trigger()
        await handle.backfill(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))
        await asyncio.to_thread(until, running.client.get_schedule("async"), started=2)
        assert (await handle.describe()).counters == {"started": 2}
        assert [item.note for item in await client.list_schedules(prefix="async")] == ["b"]
        await client.get_schedule("async").delete()

    asyncio.run(asyncio.wait_for(go(), 15))
