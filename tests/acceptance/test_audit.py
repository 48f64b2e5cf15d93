"""The audit while runs move: no false alarm; and what it puts back, with real workers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import timedelta

import msgpack
import pytest
import redis

from orchestration.client import AsyncClient, Client, Mender, RunAudit, WorkflowHandle
from orchestration.core.events import ChildStarted
from orchestration.errors import WorkflowNotFoundError, WorkflowTimedOutError
from orchestration.store.keys import ShardKeys
from tests.support import wait_until
from tests.support.projects import Deployment, Project

project = Project(tasks=["tests.acceptance.tasks"], concurrency=8)
project.celery_task("add", "accept.add")
project.celery_task("sleeps", "accept.sleeps", **{"activity.start_to_close_timeout": "1h"})
child = project.workflow(
    "child",
    """
    local function main(how)
        if how == "wait" then return process.listen("go"):receive() end
        return require("funcs").call("app:add", 1, 2)
    end
    return main
    """,
)
busy = project.workflow(
    "busy",
    """
    local funcs, time = require("funcs"), require("time")
    local function main(steps)
        local sum = 0
        for step = 1, steps do
            sum = funcs.call("app:add", sum, step)
            time.sleep("5ms")
            local pid = process.spawn_monitored("app:child", "", "quick")
            process.send(process.pid(), "self", step)
            process.listen("self"):receive()
            local event = process.events():receive()
            sum = funcs.call("app:add", sum, event.result.value)
        end
        return sum
    end
    return main
    """,
)
parent = project.workflow(
    "parent",
    """
    local function main()
        process.spawn_monitored("app:child", "", "wait")
        local event = process.events():receive()
        if event.result.error then return { error = tostring(event.result.error) } end
        return { value = event.result.value }
    end
    return main
    """,
)
working = project.workflow(
    "working", 'local function main(s) return require("funcs").call("app:sleeps", "audit", s) end return main'
)
asker = project.workflow("asker", 'local function main() return process.listen("go"):receive() end return main')


@pytest.fixture
def server(running: Deployment) -> Iterator[redis.Redis]:
    with contextlib.closing(redis.Redis.from_url(running.redis_url)) as client:
        yield client


def keys_of(running: Deployment, run_id: str) -> ShardKeys:
    return running.orchestration.runtime.store("default").keyspace.of_run(run_id)


def faulty(client: Client, *ids: str, repair: bool = False) -> list[RunAudit]:
    return [seen for seen in client.audit(ids, repair=repair) if seen.faults]


def waiting(handle: WorkflowHandle) -> WorkflowHandle:
    """The same, once it has begun to wait; one that somebody else starts may have to come first."""

    def has_begun() -> bool:
        with contextlib.suppress(WorkflowNotFoundError):
            return bool(handle.describe().places)
        return False

    wait_until(has_begun)
    return handle


def with_child(client: Client) -> tuple[WorkflowHandle, WorkflowHandle]:
    """A run that waits for its child, and knows that it has started; and the child, which waits too."""
    handle = client.start_workflow(parent)
    of_child = waiting(client.get_workflow(f"{handle.run_id}_1"))
    wait_until(lambda: any(isinstance(event, ChildStarted) for event in handle.history()))
    wait_until(lambda: any(wake.source == "the end of child 1" for wake in next(client.audit([handle.id])).wakes))
    return handle, of_child


def test_a_busy_deployment_has_no_faults(client: Client) -> None:
    """Looked at again and again while activities, timers, children and messages come and go."""
    handles = [client.start_workflow(busy, 6) for _ in range(12)]
    over, found, looks = threading.Event(), list[RunAudit](), list[int]()

    def look(repair: bool) -> None:
        while not over.is_set():
            audits = list(client.audit(repair=repair))
            looks.append(len(audits))
            found.extend(seen for seen in audits if seen.faults or seen.mended)

    threads = [threading.Thread(target=look, args=(repair,)) for repair in (False, True)]
    for thread in threads:
        thread.start()
    try:
        results = {handle.result(timeout=90) for handle in handles}
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(results) == 1
    assert sum(looks) > 20
    assert not found, found


def test_a_sound_run_says_what_moves_it(client: Client) -> None:
    handle = waiting(client.start_workflow(asker))
    (seen,) = client.audit([handle.id])
    assert [wake.source for wake in seen.wakes] == ["a message: a signal, an update or a cancel request"]
    handle.signal("go", 1)
    assert handle.result(timeout=20) == 1
    assert list(client.audit([handle.id])) == []
    with pytest.raises(WorkflowNotFoundError):
        client.audit(["nobody"])


def test_a_lost_wake_up_is_put_back(client: Client, running: Deployment, server: redis.Redis) -> None:
    """Its message and its place on the sweep's list are gone; on a queue of its own, so that no worker is quicker."""
    handle = client.start_workflow(asker, task_queue="unread")
    keys = keys_of(running, handle.run_id)
    assert server.delete("unread") == server.zrem(keys.ready, handle.run_id) == 1
    (seen,) = client.audit([handle.id], repair=True)
    assert seen.mended
    assert not seen.faults
    wait_until(lambda: server.llen("unread"), deadline_s=20, message="the sweep has sent the wake-up again")
    handle.terminate("done")


def test_the_deadline_of_a_running_activity_is_put_back(
    client: Client, running: Deployment, server: redis.Redis
) -> None:
    handle = client.start_workflow(working, 3)
    keys = keys_of(running, handle.run_id)
    member = f"{handle.run_id}/1/close"
    due = wait_until(lambda: server.zscore(keys.timers, member))
    assert server.zrem(keys.timers, member) == 1
    (seen,) = faulty(client, handle.id)
    assert [(fault.kind, fault.seq, fault.by) for fault in seen.faults] == [("activity", 1, Mender.AUDIT)]
    (mended,) = client.audit([handle.id], repair=True)
    assert mended.mended == ("the start-to-close timeout of activity 1 is set again",)
    assert not mended.faults
    assert server.zscore(keys.timers, member) == pytest.approx(due, abs=5)
    handle.result(timeout=30)


def test_a_run_timeout_is_put_back_and_ends_the_run(client: Client, running: Deployment, server: redis.Redis) -> None:
    handle = waiting(client.start_workflow(asker, run_timeout=timedelta(seconds=3)))
    keys = keys_of(running, handle.run_id)
    due = server.zscore(keys.timers, f"{handle.run_id}/run")
    assert server.zrem(keys.timers, f"{handle.run_id}/run") == 1
    assert [fault.kind for fault in faulty(client, handle.id)[0].faults] == ["timeout"]
    (mended,) = client.audit([handle.id], repair=True)
    assert mended.mended == ("its run timeout is set again",)
    assert 0 <= server.zscore(keys.timers, f"{handle.run_id}/run") - due < 2_000, "never sooner"
    with pytest.raises(WorkflowTimedOutError):
        handle.result(timeout=30)


def test_a_run_that_no_list_shows_is_found_and_put_back(
    client: Client, running: Deployment, server: redis.Redis
) -> None:
    handle = waiting(client.start_workflow(asker))
    assert server.zrem(keys_of(running, handle.run_id).open_runs, handle.run_id) == 1
    assert handle.run_id in [seen.run_id for seen in faulty(client)]
    assert [seen.mended for seen in client.audit(repair=True) if seen.run_id == handle.run_id] == [
        ("it is on the list of open runs again",)
    ]
    assert not faulty(client)
    handle.terminate()


def test_a_child_that_does_not_know_its_parent_any_more_is_asked_for_its_end(
    client: Client, running: Deployment, server: redis.Redis
) -> None:
    handle, of_child = with_child(client)
    assert not faulty(client, handle.id)
    server.hdel(keys_of(running, of_child.run_id).record(of_child.run_id), "parent")
    (seen,) = faulty(client, handle.id)
    assert [(fault.kind, fault.by) for fault in seen.faults] == [("child", Mender.AUDIT)]
    (mended,) = client.audit([handle.id], repair=True)
    assert mended.mended == ("child 1 is asked for its end again",)
    wait_until(lambda: not faulty(client, handle.id))
    of_child.signal("go", "on")
    assert handle.result(timeout=30) == {"value": "on"}


def test_a_child_that_is_gone_is_told_as_one(client: Client, running: Deployment, server: redis.Redis) -> None:
    handle, of_child = with_child(client)
    run_id, keys = of_child.run_id, keys_of(running, of_child.run_id)
    server.delete(keys.workflow(of_child.id), keys.record(run_id), keys.extra(run_id), keys.history(run_id))
    server.zrem(keys.open_runs, run_id)
    (mended,) = client.audit([handle.id], repair=True)  # the run may have ended before it is looked at again
    assert mended.mended == ("child 1 is asked for its end again",)
    assert "is known, now or within" in handle.result(timeout=30)["error"]


def test_who_waits_for_an_ended_run_is_told_after_all(
    client: Client, running: Deployment, server: redis.Redis
) -> None:
    """The entry that tells it has lost its mark: the worker was killed, and the mark was deleted by hand."""
    handle = waiting(client.start_workflow(asker))
    keys = keys_of(running, handle.run_id)
    handle.terminate()
    entry = f"c/{handle.run_id}"
    server.hset(keys.outbox, entry, msgpack.packb(["complete", "default", handle.run_id]))
    (seen,) = faulty(client)
    assert (seen.workflow_id, seen.status, seen.faults[0].kind) == (handle.id, "terminated", "outbox")
    (mended,) = [seen for seen in client.audit(repair=True) if seen.mended]
    assert mended.mended == (f"the outbox entry {entry} will be taken up",)
    wait_until(lambda: not server.hexists(keys.outbox, entry), deadline_s=30)
    assert not faulty(client)


async def _all(client: AsyncClient) -> tuple[int, int]:
    findings = [finding async for finding in client.doctor(["redis-version", "wake-sources"])]
    audits = [seen async for seen in client.audit()]
    return len(findings), len(audits)


def test_the_async_client_has_both(running: Deployment) -> None:
    import asyncio

    handle = waiting(running.client.start_workflow(asker))
    findings, audits = asyncio.run(_all(AsyncClient(running.app)))
    assert findings == 2
    assert audits >= 1
    handle.terminate()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.doctor(["weather"]), ValueError), (lambda client: client.doctor([1]), TypeError),
        (lambda client: client.doctor(timeout=0), ValueError), (lambda client: client.doctor(timeout="8"), ValueError),
        (lambda client: client.audit([1]), TypeError), (lambda client: client.audit(repair="yes"), TypeError),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_at_the_call(client: Client, call: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        call(client)  # type: ignore[operator]
