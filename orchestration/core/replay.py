"""Run a stored history through a machine, and say where code and history part.

Every command that the code gives is compared, as bytes, with the one recorded at that place. The first difference
ends the replay; only then is the history run again, slowly, to find the line of Lua that asked for something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestration.core import events
from orchestration.core.events import Code
from orchestration.core.machine import Machine
from orchestration.errors import CorruptHistoryError, NondeterminismError, OrchestrationError

__all__ = ["Position", "recorded_versions", "replay"]

_FIRST_COMMAND = int(Code.SCHEDULE_ACTIVITY)
_VERSION = int(Code.RECORD_VERSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a replay ended.

    Attributes:
        version: Number of events replayed: the length of the history.
        last_time_ms: Time of the last input; 0 for an empty history.
        size_bytes: Bytes of all events.
        closed: The history ends the run.
    """

    version: int
    last_time_ms: int
    size_bytes: int
    closed: bool


def replay(machine: Machine, history: Iterable[bytes]) -> Position:
    """Bring a fresh machine to the end of a history.

    Args:
        machine: A machine of the run's bundle that has seen no input.
        history: All events of the run, oldest first, each input followed by the commands it caused.

    Returns:
        Where the machine stands now; it goes on with ``apply``.

    Raises:
        NondeterminismError: The code asked for something else than the history says, for more or for less.
        CorruptHistoryError: The history cannot be read, or is not for this release.
        SandboxError: The code left its limits.
    """
    recorded = history if isinstance(history, Sequence) else list(history)
    versions = recorded_versions(recorded)
    if versions:
        machine.expect_versions(versions)
    apply, total, at, last_input = machine.apply, len(recorded), 0, b""
    while at < total:
        event = recorded[at]
        at += 1
        if len(event) < 2 or event[1] >= _FIRST_COMMAND:  # the code is the second byte
            raise _missing(machine, recorded, at - 1)
        last_input = event
        try:
            commands = apply(event, replaying=True)
        except NondeterminismError as error:
            raise NondeterminismError(at, error.expected, error.actual, error.line) from None
        for index, command in enumerate(commands):
            if at >= total or recorded[at] != command:
                raise _different(machine, recorded, at, index, command)
            at += 1
    return Position(
        version=total,
        last_time_ms=_time_of(last_input),
        size_bytes=sum(map(len, recorded)),
        closed=machine.closed,
    )


def recorded_versions(history: Iterable[bytes]) -> dict[str, int]:
    """The versions that a history records, by change id; the first record of a change counts."""
    versions: dict[str, int] = {}
    for event in history:
        if len(event) > 1 and event[1] == _VERSION:
            record = events.decode(event)
            if isinstance(record, events.RecordVersion):
                versions.setdefault(record.change_id, record.version)
    return versions


def _time_of(event: bytes) -> int:
    time_ms = getattr(events.decode(event), "time_ms", 0) if event else 0
    return int(time_ms)


def _missing(machine: Machine, recorded: Sequence[bytes], at: int) -> OrchestrationError:
    """The history has a command where the code gave none (or the bytes are no event at all)."""
    if not events.code_of(recorded[at]):
        return CorruptHistoryError(f"event {at + 1} of the history is no event of this format")
    places = [f"{place.file}:{place.line}" for place in machine.places() if place.line]
    if machine.closed:
        actual = "the end of the run"
    else:
        actual = "nothing more" + (f", it waits at {', '.join(places)}" if places else "")
    return NondeterminismError(at + 1, events.describe(recorded[at]), actual, places[0] if places else "")


def _different(machine: Machine, recorded: Sequence[bytes], at: int, index: int, command: bytes) -> NondeterminismError:
    """The code gave another command than the history has, or one where it has none."""
    actual = events.describe(command)
    if at >= len(recorded):
        expected = "nothing more"
    elif recorded[at][1] < _FIRST_COMMAND:
        expected = f"nothing before {events.describe(recorded[at])}"
    else:
        expected = events.describe(recorded[at])
        if expected == actual:
            expected, actual = _parts(recorded[at], command)
    return NondeterminismError(at + 1, expected, actual, _line_of(machine, recorded, at - index, index))


def _parts(expected: bytes, actual: bytes) -> tuple[str, str]:
    """Two commands of the same description: say in which part they differ."""
    one, other = events.decode(expected), events.decode(actual)
    for name in events.fields_of(one):
        if getattr(one, name, None) != getattr(other, name, None):
            return events.describe(expected), f"{events.describe(actual)} with other {name}"
    return events.describe(expected), f"{events.describe(actual)} in another encoding"


def _line_of(machine: Machine, recorded: Sequence[bytes], first_command: int, index: int) -> str:
    """Run the history again with tracing up to the input in question; the line behind its command ``index``."""
    try:
        traced = Machine(machine.bundle, limits=machine.limits, mode=machine.mode, trace=True)
        versions = recorded_versions(recorded)
        if versions:
            traced.expect_versions(versions)
        lines: list[str] = []
        for event in recorded[:first_command]:
            if event[1] < _FIRST_COMMAND:
                lines = traced.apply_traced(event)
        traced.close()
    except OrchestrationError:
        return ""
    return lines[index] if index < len(lines) else ""
