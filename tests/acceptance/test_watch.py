"""Watching a workflow: every state is told once, the end at once, and nothing is left behind by who stops."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from orchestration.client import AsyncClient, Client
from orchestration.errors import WorkflowNotFoundError
from tests.support.projects import Deployment, Project

project = Project()
waits = project.workflow(
    "waits",
    """
    local function main()
        local inbox = process.inbox()
        inbox:receive()
        inbox:receive()
        return "done"
    end
    return main
    """,
)
again = project.workflow(
    "again",
    """
    local function main(left)
        if left > 0 then
            process.upgrade(nil, left - 1)
        end
        return "last"
    end
    return main
    """,
)


def test_states_come_once_each_and_the_end_at_once(client: Client) -> None:
    handle = client.start_workflow(waits)
    states = []
    for seen in handle.watch(every=0.1):
        if not states or seen.status != "running" or (seen.history_length, seen.unread) != states[-1][1:]:
            states.append((seen.status, seen.history_length, seen.unread))
        if seen.status == "running" and seen.history_length and not seen.unread:
            handle.signal("go")
    assert states[-1][0] == "completed"
    assert [length for _, length, _ in states] == sorted(length for _, length, _ in states)
    assert len(states) == len(set(states)) >= 3
    assert [seen.status for seen in handle.watch()] == ["completed"]  # ended already: told once


def test_the_end_is_told_long_before_the_next_look(client: Client) -> None:
    handle = client.start_workflow(waits)
    states = handle.watch(every=60)
    assert next(states).status == "running"
    handle.signal("go")
    handle.signal("go")
    began = time.monotonic()
    assert [seen.status for seen in states] == ["completed"]
    assert time.monotonic() - began < 30


def test_runs_that_follow_are_followed(client: Client) -> None:
    handle = client.start_workflow(again, 2, id=f"again-{uuid.uuid4().hex}")
    last = {seen.run_id: seen.status for seen in client.get_workflow(handle.id, handle.run_id).watch(every=0.1)}
    assert list(last.values()) == ["continued_as_new", "continued_as_new", "completed"]


def test_async_watchers_hold_no_thread_and_stop_when_they_are_cancelled(running: Deployment) -> None:
    async def main() -> None:
        client = AsyncClient(running.app)
        handle = await client.start_workflow(waits)

        async def follow() -> list[str]:
            return [seen.status async for seen in handle.watch(every=0.1)]

        watchers = [asyncio.create_task(follow()) for _ in range(60)]  # more than threads of the loop
        gone = watchers.pop()
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        await handle.signal("go")
        await handle.signal("go")
        async with asyncio.timeout(60):
            for states in await asyncio.gather(*watchers):
                assert states[-1] == "completed"

    asyncio.run(main())


def test_what_cannot_be_watched_is_told(client: Client) -> None:
    with pytest.raises(WorkflowNotFoundError):
        next(client.get_workflow("nobody").watch())
    handle = client.start_workflow(waits)
    with pytest.raises(ValueError, match=r"0\.05"):
        next(handle.watch(every=0))
    with pytest.raises(TypeError):
        next(handle.watch(every="soon"))  # type: ignore[arg-type]
    states = handle.watch(every=0.1)
    next(states)
    states.close()  # type: ignore[attr-defined]
    handle.terminate()
