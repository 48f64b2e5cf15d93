"""Turns of the sweep: everything that is due has its turn, whatever else cannot be seen to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.testing import WorkflowEnvironment

YAML = """\
namespace: app
name: waits
kind: workflow.lua
source: return function() return process.listen("go"):receive() end
"""


@pytest.fixture
def env(tmp_path: Path) -> Iterator[WorkflowEnvironment]:
    (tmp_path / "app.yaml").write_text(YAML)
    with WorkflowEnvironment(tmp_path, sweep_batch=2, shards=1) as found:
        yield found


def test_deadlines_that_cannot_be_seen_to_take_turns(env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        env.client.start_workflow("app:waits", id=f"late-{number}", run_timeout=timedelta(seconds=60 + number))
    sweeper: Any = env._sweeper
    given: list[list[str]] = []
    monkeypatch.setattr(sweeper, "_fire", lambda _namespace, _store, member: given[-1].append(member))
    env.clock.skip_to(env.clock() + 120_000)
    pauses = []
    for _ in range(4):
        given.append([])
        pauses.append(sweeper.turn())
    assert [len(members) for members in given] == [2, 2, 1, 2]
    assert len({member for members in given[:3] for member in members}) == 5
    assert given[3] == given[0]
    assert pauses[0] == pauses[1] == 0, "there is more"
    assert pauses[2] > 0.1, "and then it rests"


def test_a_run_that_nobody_takes_is_woken_for_as_long_as_it_takes(env: WorkflowEnvironment) -> None:
    """Each wake-up doubles the pause; after a weekend of them the sweep had nothing but errors."""
    handle = env.client.start_workflow("app:waits", id="alone")
    sweeper: Any = env._sweeper
    store = env.client._runtime.store("default")
    (record,) = store.runs.records([handle.run_id])
    sweeper._woken[handle.run_id] = (-1e9, 5_000, record.number("fence"))
    sent: list[str] = []
    sweeper._runtime.messages.publish = lambda *sends: sent.extend(str(send) for send in sends) or True
    sweeper._wake("default", store, [handle.run_id])
    assert len(sent) == 1
    assert sweeper._woken[handle.run_id][1] == 5_001
