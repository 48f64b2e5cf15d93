# ruff: noqa: E501 - Lua sources read better on one line
"""A process dies when it has told a run what became of its request, and before that is forgotten.

The sweep does it again, while the run has gone on: whatever it has begun since is not met by the repetition.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from orchestration.registry import Registry, load_registry
from orchestration.store.timers import Timers
from orchestration.testing import WorkflowEnvironment
from tests.support.projects import Project

project = Project()
FRAME = "local time, channel = require('time'), require('channel') return function(...) %s end"


def workflow(name: str, body: str) -> str:
    return project.workflow(name, FRAME % body, modules=["time", "channel"])


JOB = "process.with_options({ ['workflow.id'] = 'job', ['workflow.id_conflict_policy'] = 'fail' }):spawn('app:waits', 'celery')"
waits = workflow("waits", "return process.events():receive().kind")
terminates = workflow("terminates", f"assert(process.terminate(...)) assert({JOB}) time.sleep('24h')")
asks = workflow("asks", "local pid, what = ... local ok, e = process[what](pid, 'x') return { ok or false, e and e:kind() }")
spawns = workflow("spawns", f"local _, e = {JOB} time.sleep('24h') return e:kind()")
PID = "{celery@default|job}"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return load_registry(project.write(tmp_path_factory.mktemp("definitions")))


@pytest.fixture
def env(registry: Registry) -> Iterator[WorkflowEnvironment]:
    with WorkflowEnvironment(registry=registry) as env:
        yield env


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the entries that were not forgotten; only the first of those by which a run asks for something is not."""
    lost: list[str] = []
    finish = Timers.finish

    def dies_at_first(self: Timers, run_id: Any, names: list[str]) -> Any:
        if not lost and names[0].startswith(("m/", "x/", "k/")):
            lost.extend(names)
            return None
        return finish(self, run_id, names)

    monkeypatch.setattr(Timers, "finish", dies_at_first)
    return lost


def status(env: WorkflowEnvironment, workflow_id: str) -> str:
    return env.client.get_workflow(workflow_id).describe().status


def sweep(env: WorkflowEnvironment) -> None:
    """Time passes in which the sweep does again what was not forgotten, and forgets it."""
    env.skip(timedelta(seconds=30))
    shard = env._parts.runtime.store("default").timers.shards[0]
    assert env._connection.call("ZCARD", shard.outbox_due) == 0


def test_a_workflow_is_started_again_by_who_has_terminated_it(env: WorkflowEnvironment, lost: list[str]) -> None:
    first = env.start(waits, id="job")
    env.start(terminates, PID, id="boss")
    env.run()
    assert (first.describe().status, status(env, "job")) == ("terminated", "running")
    sweep(env)
    assert lost
    assert status(env, "job") == "running"


def test_a_workflow_is_started_again_by_another(
    env: WorkflowEnvironment, lost: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has terminated it has not been told yet."""
    env.start(waits, id="job")
    monkeypatch.setattr(env._parts.engine.outbox, "_answer", lambda *_: None)
    env.start(asks, PID, "terminate", id="boss")
    env.run()
    monkeypatch.undo()
    assert (status(env, "job"), status(env, "boss")) == ("terminated", "running")
    env.start(waits, id="job")
    sweep(env)
    assert (status(env, "job"), status(env, "boss")) == ("running", "completed")


@pytest.mark.parametrize("what", ["terminate", "cancel", "send"])
@pytest.mark.parametrize("was_there", [True, False])
def test_a_workflow_that_was_not_running_is_started(
    env: WorkflowEnvironment, lost: list[str], what: str, was_there: bool
) -> None:
    if was_there:
        env.start(waits, id="job")
        env.client.get_workflow("job").terminate()
    env.start(asks, PID, what, id="boss")
    env.run()
    assert status(env, "boss") == "completed"
    env.start(waits, id="job")
    sweep(env)
    assert lost
    job = env.client.get_workflow("job").describe()
    assert (job.status, job.history_length) == ("running", 1)


def test_a_child_that_could_not_be_started(env: WorkflowEnvironment, lost: list[str]) -> None:
    first = env.start(waits, id="job")
    env.start(spawns, id="boss")
    env.run()
    first.terminate()
    sweep(env)
    assert lost
    assert env.client.get_workflow("job").run_id == first.run_id
