"""Run a stored history through a machine, and say where code and history part.

Every command that the code gives is compared, as bytes, with the one recorded at that place. The first difference
ends the replay; only then is the history run again, slowly, to find the line of Lua that asked for something else.

Other code than the one that made a history may fit it all the same. For that the comparison can be lenient: a command
of the same kind, number and target with other arguments is a difference that is told, not one that ends the replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orchestration.core import events
from orchestration.core.events import Code
from orchestration.core.machine import Machine
from orchestration.errors import CorruptHistoryError, NondeterminismError, OrchestrationError

__all__ = ["Difference", "Position", "compare", "recorded_versions", "replay"]

_FIRST_COMMAND = int(Code.SCHEDULE_ACTIVITY)
_COMMANDS = bytes((_FIRST_COMMAND,))
_VERSION, _EFFECT = int(Code.RECORD_VERSION), int(Code.SIDE_EFFECT)
_RECORDED = frozenset((_VERSION, _EFFECT))
_MOST_DIFFERENCES = 20

_TARGETS: dict[int, tuple[str, ...]] = {
    Code.SCHEDULE_ACTIVITY: ("seq", "target"),
    Code.START_TIMER: ("seq",),
    Code.SEND_SIGNAL: ("seq", "pid", "topic"),
    Code.START_CHILD: ("seq", "type"),
    Code.COMPLETE: (),
    Code.FAIL: (),
    Code.CONTINUE_AS_NEW: ("type",),
    Code.UPSERT_ATTRIBUTES: ("seq",),
    Code.CANCEL_EXTERNAL: ("seq", "pid", "terminate"),
    Code.UPDATE_DONE: ("update_id",),
}
"""What of a command must be as recorded even when its arguments may differ; of a kind that is not here, everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A command whose arguments are not as recorded.

    Attributes:
        event_number: Which event, counted from 1.
        expected: What the history says, in words.
        actual: What the code asked for, in words.
        line: Where it asked for it, as ``file:line``; empty when that is not known.
    """

    event_number: int
    expected: str
    actual: str
    line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a replay ended.

    Attributes:
        version: Number of events replayed: the length of the history.
        last_time_ms: Time of the last input; 0 for an empty history.
        size_bytes: Bytes of all events.
        closed: The history ends the run.
        differences: Commands with other arguments than recorded, the first ones; only where that was allowed.
    """

    version: int
    last_time_ms: int
    size_bytes: int
    closed: bool
    differences: tuple[Difference, ...] = ()


def replay(machine: Machine, history: Iterable[bytes], *, lenient_until: int = 0) -> Position:
    """Bring a fresh machine to the end of a history.

    Args:
        machine: A machine of the run's bundle that has seen no input.
        history: All events of the run, oldest first, each input followed by the commands it caused.
        lenient_until: Number of the last event that other code has made: up to it arguments may differ.

    Returns:
        Where the machine stands now; it goes on with ``apply``.

    Raises:
        NondeterminismError: The code asked for something else than the history says, for more or for less.
        CorruptHistoryError: The history cannot be read, or is not for this release.
        SandboxError: The code left its limits.
    """
    recorded = history if isinstance(history, Sequence) else list(history)
    effects = _tell_recorded(machine, recorded)
    apply, total, at, last_input = machine.apply, len(recorded), 0, b""
    differences: list[Difference] = []
    while at < total:
        event = recorded[at]
        at += 1
        if len(event) < 2 or event[1] >= _FIRST_COMMAND:  # the code is the second byte
            raise _missing(machine, recorded, at - 1)
        last_input = event
        if effects and at in effects:
            machine.expect_effects(effects[at])
        try:
            commands = apply(event, replaying=True)
        except NondeterminismError as error:
            raise NondeterminismError(at, error.expected, error.actual, error.line) from None
        for index, command in enumerate(commands):
            if at >= total or recorded[at] != command:
                if at >= min(lenient_until, total) or not _agree(recorded[at], command):
                    raise _different(machine, recorded, at, index, command)
                if len(differences) < _MOST_DIFFERENCES:
                    expected, actual = _sides(recorded[at], command)
                    differences.append(Difference(event_number=at + 1, expected=expected, actual=actual))
            at += 1
    return Position(
        version=total,
        last_time_ms=_time_of(last_input),
        size_bytes=sum(map(len, recorded)),
        closed=machine.closed,
        differences=tuple(differences),
    )


def compare(machine: Machine, history: Sequence[bytes]) -> Position:
    """Bring a fresh machine of other code to the end of a history, if that code can go on with it.

    Args:
        machine: A machine that has seen no input, of the code in question.
        history: All events of the run.

    Returns:
        Where the machine stands; with the differences in arguments, and the line of the first one.

    Raises:
        NondeterminismError: The code asked for another kind of thing or for another target, for more or for less.
        CorruptHistoryError: The history cannot be read, or is not for this release.
        SandboxError: The code left its limits.
    """
    position = replay(machine, history, lenient_until=len(history))
    if not position.differences:
        return position
    first = position.differences[0]
    at = first_command = first.event_number - 1
    while history[first_command - 1][1] >= _FIRST_COMMAND:
        first_command -= 1
    line = _line_of(machine, history, first_command, at - first_command)
    return replace(position, differences=(replace(first, line=line), *position.differences[1:]))


def recorded_versions(history: Iterable[bytes]) -> dict[str, int]:
    """The versions that a history records, by change id; the first record of a change counts."""
    versions: dict[str, int] = {}
    for event in history:
        if len(event) > 1 and event[1] == _VERSION:
            record = events.decode(event)
            if isinstance(record, events.RecordVersion):
                versions.setdefault(record.change_id, record.version)
    return versions


def _tell_recorded(machine: Machine, recorded: Sequence[bytes]) -> dict[int, list[events.SideEffect]]:
    """Tell a machine what the history records, as far as it has to be known beforehand.

    Returns:
        The side effects to tell before an input is applied, by the number of its event. All at once they could need
        more memory than the run ever did.
    """
    found = [at for at, event in enumerate(recorded) if len(event) > 1 and event[1] in _RECORDED]
    if not found:
        return {}
    versions = recorded_versions(recorded[at] for at in found)
    if versions:
        machine.expect_versions(versions)
    effects: dict[int, list[events.SideEffect]] = {}
    for at in found:
        effect = events.decode(recorded[at])
        if isinstance(effect, events.SideEffect):
            number = at
            while number > 0 and recorded[number - 1][1:2] >= _COMMANDS:
                number -= 1
            effects.setdefault(number, []).append(effect)
    return effects


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
        expected, actual = _sides(recorded[at], command)
    return NondeterminismError(at + 1, expected, actual, _line_of(machine, recorded, at - index, index))


def _agree(recorded: bytes, given: bytes) -> bool:
    """Whether two commands differ in their arguments alone."""
    if recorded[1] != given[1]:
        return False
    one, other = events.decode(recorded), events.decode(given)
    names = _TARGETS.get(recorded[1], events.fields_of(one))
    return all(getattr(one, name, None) == getattr(other, name, None) for name in names)


def _sides(expected: bytes, actual: bytes) -> tuple[str, str]:
    """Two commands in words; where the words are the same, with the part in which they differ."""
    if events.describe(expected) != events.describe(actual):
        return events.describe(expected), events.describe(actual)
    one, other = events.decode(expected), events.decode(actual)
    for name in events.fields_of(one):
        if getattr(one, name, None) != getattr(other, name, None):
            return events.describe(expected), f"{events.describe(actual)} with other {name}"
    return events.describe(expected), f"{events.describe(actual)} in another encoding"


def _line_of(machine: Machine, recorded: Sequence[bytes], first_command: int, index: int) -> str:
    """Run the history again with tracing up to the input in question; the line behind its command ``index``."""
    try:
        traced = Machine(machine.bundle, limits=machine.limits, mode=machine.mode, trace=True)
        effects = _tell_recorded(traced, recorded)
        lines: list[str] = []
        for number, event in enumerate(recorded[:first_command], 1):
            if event[1] < _FIRST_COMMAND:
                if number in effects:
                    traced.expect_effects(effects[number])
                lines = traced.apply_traced(event)
        traced.close()
    except OrchestrationError:
        return ""
    return lines[index] if index < len(lines) else ""
