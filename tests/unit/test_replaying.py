"""The mode 'replay everything' of the suite sees what only a replay can show."""

from __future__ import annotations

import pytest

from orchestration.core import events
from orchestration.core.machine import Machine
from tests.support.lua_runs import Run
from tests.support.replaying import REPLAY_VARIABLE, worker_variables

SOURCE = """
local time = require("time")
return function() time.sleep("1s") time.sleep("1s") return "done" end
"""


def test_each_step_of_a_run_is_on_a_fresh_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPLAY_VARIABLE, "1")
    run = Run(SOURCE)
    machines = [run.machine]
    run.start()
    machines.append(run.machine)
    run.fire(1)
    machines.append(run.machine)
    run.fire(2)
    machines.append(run.machine)
    assert len(set(map(id, machines))) == 4
    assert run.result == "done"


def test_a_step_that_the_history_does_not_explain_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the first machine gets an input that is not written down."""
    monkeypatch.setenv(REPLAY_VARIABLE, "1")
    run = Run(SOURCE)
    run.start()
    run.machine.apply(events.encode(events.TimerFired(run.tick(), 1)))
    with pytest.raises(Exception, match="answers command 2"):
        run.fire(2)


def test_workers_keep_no_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPLAY_VARIABLE, "1")
    assert worker_variables() == {"ORCHESTRATION_CACHE_RUNS": "0"}


def test_ordinarily_a_run_keeps_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REPLAY_VARIABLE, raising=False)
    run = Run(SOURCE)
    first: Machine = run.machine
    run.start()
    run.fire(1)
    assert run.machine is first
    assert worker_variables() == {}
