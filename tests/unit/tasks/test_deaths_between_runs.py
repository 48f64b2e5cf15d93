# ruff: noqa: E501 - Lua sources read better on one line
"""A process dies at any call of the store, before it or after it: whatever passes between runs comes out the same.

One process plays all of them, in memory: at a death it loses its machines, the message in its hands, and some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestration import RetryPolicy, ScheduleAction, SchedulePolicy, ScheduleSpec
from orchestration.errors import ScheduleAlreadyExistsError, WorkflowClosedError
from orchestration.registry import Registry, load_registry
from orchestration.tasks.making import Hand
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project
from tests.support.replaying import is_replaying_everything

EVERY = 3
"""One call in so many is tried; each scenario begins with another one."""

project = Project()
FRAME = "local time, workflow, funcs = require('time'), require('workflow'), require('funcs') return function(...) %s end"


def workflow(name: str, body: str) -> str:
    return project.workflow(name, FRAME % body, modules=["time", "workflow", "funcs"])


twice = project.function("twice", "return function(n) return n * 2 end")
kid = workflow("kid", "local n, times = ... time.sleep('1s') if times > 0 then process.upgrade(nil, n, times - 1) end return (funcs.new():with_options({ ['activity.start_to_close_timeout'] = '10s', ['activity.retry_policy'] = { maximum_attempts = 9, initial_interval = 1000 } }):call('app:twice', n))")
quick = workflow("quick", "return 'done'")
bad = workflow("bad", "error(errors.new { message = 'no', kind = 'Conflict' })")
parent = workflow("parent", "local events = process.events() local pid = assert(process.spawn('app:kid', 'celery', 5, 1)) local a = process.exec('app:kid', 'celery', 1, 1) local _, e = process.exec('app:bad', 'celery') local q = process.exec('app:quick', 'celery') local got = events:receive() return { a, e:kind(), q, got.result.value, got.from == pid }")
counter = workflow("counter", "local added, n = process.listen('add'), ... local got = added:receive() n = (n or 0) + got if got == 100 then return n end process.upgrade(nil, n)")
adder = workflow("adder", "for _, n in ipairs({ 1, 2, 3, 100 }) do assert(process.send(..., 'add', n)) end return process.cancel('{celery@default|waits}')")
waits = workflow("waits", "return process.events():receive().kind")
fails = workflow("fails", "if workflow.info().attempt < 3 then error(errors.new { message = 'x', kind = 'Unavailable' }) end return 'ok'")
orphaner = workflow("orphaner", "process.with_options({ ['workflow.id'] = 'orphan' }):spawn('app:waits', 'celery') return 1")
sum_of = workflow("sum_of", "local n = 0 workflow.update('add', function(k) time.sleep('1s') n = n + k return n end) workflow.wait(function() return n >= 3 end) return n")
tick = workflow("tick", "time.sleep('1s') return 1")


class Death(BaseException):
    """Nothing catches it but the test."""


class World:
    """An environment whose process dies once.

    Args:
        env: The environment.
        at: Number of the call of the store at which it dies; 0: never.
        after: The call has been carried out.
    """

    def __init__(self, env: WorkflowEnvironment, at: int, after: bool) -> None:
        self.env = env
        self.at = at
        self.calls = 0
        call = env._connection.run

        def run(*args: Any) -> Any:
            self.calls += 1
            dies = self.calls == self.at
            if dies and not after:
                raise Death
            reply = call(*args)
            if dies:
                raise Death
            return reply

        env._connection.run = run  # type: ignore[method-assign]

    def survive(self, act: Callable[[], Any]) -> Any:
        """Do something, again if the process dies of it."""
        try:
            return act()
        except Death:
            self.env._parts.runtime.cache.clear()
            self.env._parts.engine._mine = Hand()
            self.env.clock.skip_to(self.env.clock.now_ms + 6_000)
            return act()

    def start(self, workflow_type: str, *args: Any, id: str, **options: Any) -> None:  # noqa: A002
        self.survive(lambda: self.env.start(workflow_type, *args, id=id, request_id=f"start-{id}", **options))

    def skip(self, **time: float) -> None:
        self.survive(lambda: self.env.skip(timedelta(**time)))


def children(world: World) -> None:
    world.start(parent, id="parent")
    world.skip(minutes=5)


def signals(world: World) -> None:
    world.start(counter, id="counter")
    world.start(waits, id="waits")
    world.start(adder, "{celery@default|counter}", id="adder")
    world.skip(minutes=1)


def chains(world: World) -> None:
    world.start(fails, id="fails", retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1)))
    world.start(orphaner, id="orphaner")
    world.skip(minutes=5)


def updates(world: World) -> None:
    world.start(sum_of, id="sum")
    for n in (1, 2):
        world.survive(lambda n=n: world.env.client.get_workflow("sum").update("add", n, update_id=f"u-{n}"))
    world.skip(minutes=1)


def schedules(world: World) -> None:
    spec = ScheduleSpec(interval=timedelta(minutes=1), max_actions=3)
    action, policy = ScheduleAction(workflow_type=tick), SchedulePolicy(overlap="buffer_all")

    def create() -> None:
        try:
            world.env.client.create_schedule("often", spec=spec, action=action, policy=policy)
        except ScheduleAlreadyExistsError:
            return

    world.survive(create)
    world.skip(minutes=6)


def resets(world: World) -> None:
    world.start(parent, id="parent")
    world.skip(seconds=1.2)
    first = world.env.client.get_workflow("parent").run_id

    def reset() -> None:
        try:
            world.env.client.get_workflow("parent", run_id=first).reset("last")
        except WorkflowClosedError:
            return  # it has been done

    world.survive(reset)
    world.skip(minutes=5)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@contextmanager
def played(registry: Registry, scenario: Callable[[World], None], at: int, after: bool) -> Iterator[World]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with WorkflowEnvironment(registry=registry, start=start, replay_everything=is_replaying_everything()) as env:
        world = World(env, at, after)
        scenario(world)
        world.at = 0
        yield world


def ends(world: World) -> list[tuple[str, str, Any]]:
    """How every run has ended, and that nothing is left over."""
    client, found = world.env.client, []
    world.env.skip(timedelta(minutes=5))
    for seen in client.list_workflows(limit=100):
        handle = client.get_workflow(seen.workflow_id, run_id=seen.run_id)
        found.append((seen.type, seen.status, handle.result() if seen.status == "completed" else None))
    keys = world.env._parts.runtime.store("default").timers.shards[0]
    for name in (keys.outbox_due, keys.timers, keys.handed, keys.ready, keys.pending, keys.open_runs):
        assert world.env._connection.call("ZCARD", name) == 0, name
    return sorted(found, key=repr)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("scenario", [children, signals, chains, updates, schedules, resets])
def test_a_death_changes_nothing(registry: Registry, scenario: Callable[[World], None], after: bool) -> None:
    with played(registry, scenario, 0, after) as world:
        calls, expected = world.calls, ends(world)
    for at in range(1 + len(scenario.__name__) % EVERY, calls, EVERY):
        with played(registry, scenario, at, after) as world:
            found = ends(world)
            if scenario is resets:  # what is reset may have ended meanwhile: then more of it is there twice
                found, expected = ([end for end in some if end[0] == parent][:1] for some in (found, expected))
            assert found == expected, f"died at call {at} of {calls}"
