"""Every stored history replays to the bytes it was recorded with, from the start and from every cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.core import events
from orchestration.core.machine import Machine
from orchestration.core.replay import replay
from tests.replay.histories import FOLDER, read
from tests.replay.record import CASES

FILES = sorted(FOLDER.glob("*/*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_stored_history_replays(path: Path) -> None:
    bundle, history = read(path)
    machine = Machine(bundle)
    assert replay(machine, history).version == len(history)
    assert machine.closed


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_stored_history_goes_on_from_every_input(path: Path) -> None:
    bundle, history = read(path)
    for at in [index for index, event in enumerate(history) if not events.is_command(event)]:
        machine = Machine(bundle)
        replay(machine, history[:at])
        rest = [machine.apply(event) for event in history[at:] if not events.is_command(event)]
        assert [command for commands in rest for command in commands] == [
            e for e in history[at:] if events.is_command(e)
        ]


def test_every_recorded_case_is_kept() -> None:
    assert {path.parent.name for path in FILES} >= set(CASES)


def test_every_kind_of_event_is_in_some_history() -> None:
    seen = {event[1] for path in FILES for event in read(path)[1]}
    # Ends from outside and failed starts have tests of their own; a continued run is a history of its own.
    beside = {"TERMINATED", "TIMED_OUT", "CHILD_START_FAILED", "FAIL", "CONTINUE_AS_NEW", "CANCEL_TIMER"}
    beside |= {"WATCH", "WATCHED_ENDED", "PERFORM", "LOADED"}  # of functions and processes: in no history
    assert {code.name for code in events.Code} - {events.Code(code).name for code in seen} <= beside
