"""A history cut short: where it can be cut, and what is open there.

A history is a row of blocks: an input, and the commands that it caused. It can be cut behind any block that does not
end the run. What the code had asked for by then and not been answered is open: whoever goes on from there has to see to
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestration.core import events, payload
from orchestration.core.events import Code
from orchestration.errors import CorruptHistoryError

__all__ = [
    "CUTS", "Cut", "OpenCommand", "cut_at", "later_answers", "later_signals", "open_at", "own_meta", "possible_cuts",
    "with_origin", "without_answer",
]  # fmt: skip

CUTS = ("start", "last", "first-failure", "last-activity")
"""Names of places to cut at."""

_FIRST_COMMAND = int(Code.SCHEDULE_ACTIVITY)
_ASKING = frozenset(
    (Code.SCHEDULE_ACTIVITY, Code.START_TIMER, Code.SEND_SIGNAL, Code.START_CHILD, Code.CANCEL_EXTERNAL)
)
_ANSWERS = frozenset(
    (
        Code.ACTIVITY_COMPLETED, Code.ACTIVITY_FAILED, Code.TIMER_FIRED, Code.OPERATION_DONE, Code.CHILD_ENDED,
        Code.CHILD_START_FAILED,
    )
)  # fmt: skip
_TAKING_BACK = frozenset((Code.CANCEL_TIMER, Code.CANCEL_ACTIVITY))
_OF_OTHER_RUNS = frozenset((Code.SEND_SIGNAL, Code.START_CHILD, Code.CANCEL_EXTERNAL))
_ANSWERS_OF_OTHER_RUNS = frozenset(
    (Code.OPERATION_DONE, Code.CHILD_STARTED, Code.CHILD_START_FAILED, Code.CHILD_ENDED)
)
_ORIGIN = ("reset_of", "forked_from", "added_bytes")
_MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Cut:
    """A place to cut a history at.

    Attributes:
        number: Number of the last input that is kept, counted from 1.
        length: Number of events that are kept: the input's commands are among them.
    """

    number: int
    length: int


@dataclass(frozen=True, slots=True)
class OpenCommand:
    """Something asked for and not answered.

    Attributes:
        seq: Its number.
        command: As recorded.
        time_ms: Time of the input that caused it.
        is_cancelled: It is an activity that was asked to stop; its answer is waited for.
    """

    seq: int
    command: bytes
    time_ms: int
    is_cancelled: bool = False

    @property
    def code(self) -> int:
        """What kind of command it is."""
        return self.command[1]

    @property
    def is_of_another_run(self) -> bool:
        """Whether it is a child, or a request to another run: nothing that can be asked for twice."""
        return self.command[1] in _OF_OTHER_RUNS


def possible_cuts(history: Sequence[bytes]) -> list[Cut]:
    """Every place where a history can be cut, in order."""
    cuts: list[Cut] = []
    inputs = [at for at, event in enumerate(history) if event[1] < _FIRST_COMMAND]
    for at, following in zip(inputs, [*inputs, len(history)][1:], strict=True):
        if not any(events.is_closing(event) for event in history[at:following]):
            cuts.append(Cut(at + 1, following))
    return cuts


def cut_at(history: Sequence[bytes], where: int | str) -> Cut:
    """Find a place to cut at.

    Args:
        history: All events of a run.
        where: Number of an input, or of the last command that it caused; or a name: ``start`` (behind the start),
            ``last`` (as late as can be), ``first-failure`` (before the first failure of an activity came),
            ``last-activity`` (before the last result or failure of an activity came).

    Raises:
        TypeError: It is neither number nor name.
        ValueError: No cut is possible there; the message says where it is.
    """
    if isinstance(where, bool) or not isinstance(where, (int, str)):
        raise TypeError(f"an event is given by its number or as one of {', '.join(CUTS)}, not as {where!r:.100}")
    cuts = possible_cuts(history)
    if not cuts:
        raise ValueError("the history has no event that a run could go on from")
    if isinstance(where, str):
        return _named(history, cuts, where)
    for cut in cuts:
        if where in (cut.number, cut.length):
            return cut
    numbers = [str(cut.number) for cut in cuts]
    if len(numbers) > _MOST_SHOWN:
        numbers = [*numbers[: _MOST_SHOWN // 2], "...", *numbers[-_MOST_SHOWN // 2 :]]
    what = f"event {where} is no input that a run can go on from" if 1 <= where <= len(history) else f"no event {where}"
    raise ValueError(f"{what}: the inputs are events {', '.join(numbers)}")


def _named(history: Sequence[bytes], cuts: list[Cut], where: str) -> Cut:
    if where == "start":
        return cuts[0]
    if where == "last":
        return cuts[-1]
    if where not in CUTS:
        raise ValueError(f"{where!r} is neither the number of an event nor one of {', '.join(CUTS)}")
    wanted = {Code.ACTIVITY_FAILED} if where == "first-failure" else {Code.ACTIVITY_FAILED, Code.ACTIVITY_COMPLETED}
    places = [at for at, event in enumerate(history) if event[1] in wanted]
    if not places:
        raise ValueError(f"{where}: no activity of this run has {'failed' if where == 'first-failure' else 'ended'}")
    at = places[0] if where == "first-failure" else places[-1]
    return next(cut for cut in reversed(cuts) if cut.length <= at)


def without_answer(history: Sequence[bytes], seq: int) -> tuple[Cut, int]:
    """The place before the answer of an activity came.

    Args:
        history: Events of a run.
        seq: Number of the activity.

    Returns:
        Where to cut, and the index of the event with the answer.

    Raises:
        ValueError: There is no answer of it.
    """
    known = []
    for at, event in enumerate(history):
        if event[1] in (Code.ACTIVITY_COMPLETED, Code.ACTIVITY_FAILED):
            number = _number(event)
            if number == seq:
                return next(cut for cut in reversed(possible_cuts(history[:at])) if cut.length <= at), at
            known.append(str(number))
    shown = f"there are {', '.join(known[:_MOST_SHOWN])}" if known else "there is none"
    raise ValueError(f"no result of an activity {seq} is recorded there: {shown}")


def open_at(prefix: Iterable[bytes]) -> dict[int, OpenCommand]:
    """What is asked for and not answered at the end of a history, by number."""
    found: dict[int, OpenCommand] = {}
    time_ms = 0
    for event in prefix:
        code = event[1]
        if code < _FIRST_COMMAND:
            time_ms = max(time_ms, int(payload.decode(event)[1]))
            if code in _ANSWERS:
                found.pop(_number(event), None)
        elif code in _ASKING:
            seq = _number(event)
            found[seq] = OpenCommand(seq, event, time_ms)
        elif code in _TAKING_BACK:
            seq = _number(event)
            if len(payload.decode(event)) > 2 and seq in found:  # its answer still counts
                found[seq] = replace(found[seq], is_cancelled=True)
            else:
                found.pop(seq, None)
    return found


def later_answers(later: Iterable[bytes], still_open: dict[int, OpenCommand]) -> Iterator[bytes]:
    """The answers, among the inputs behind a cut, of children and other runs to what was open there."""
    for event in later:
        if event[1] in _ANSWERS_OF_OTHER_RUNS:
            command = still_open.get(_number(event))
            if command is not None and command.is_of_another_run:
                yield event


def later_signals(later: Iterable[bytes]) -> Iterator[bytes]:
    """The signals among the events behind a cut."""
    return (event for event in later if event[1] == Code.SIGNAL)


def with_origin(started: bytes, **origin: Any) -> bytes:
    """The start of a run as another run begins with it, saying where it comes from.

    Nothing that the code can see changes: the bytes added are recorded, and left out of the size of the history.

    Args:
        started: The STARTED event.
        origin: ``reset_of`` or ``forked_from``, for the meta of the event.
    """
    event = events.decode(started)
    if not isinstance(event, events.Started):
        raise CorruptHistoryError("the first event is not the start of a run")
    size = len(started) - int(event.meta.get("added_bytes") or 0)
    kept = {name: value for name, value in event.meta.items() if name not in _ORIGIN}
    was = (event.meta.get("forked_from") or {}).get("own")
    if was and "forked_from" not in origin:  # a fork that is reset stays who it is
        origin = {**origin, "forked_from": event.meta["forked_from"]}
    added = 0
    while True:
        encoded = events.encode(events.Started(event.time_ms, {**kept, **origin, "added_bytes": added}, event.args))
        if len(encoded) == size + added:
            return encoded
        added = len(encoded) - size


def own_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The map of a run's start without the traces of where its history comes from; a fork is somebody else."""
    own = {name: value for name, value in meta.items() if name not in _ORIGIN}
    own.update((meta.get("forked_from") or {}).get("own") or {})
    return own


def _number(event: bytes) -> int:
    """The number of a command, or of the command that an input answers."""
    fields = payload.decode(event)
    return int(fields[1] if fields[0] >= _FIRST_COMMAND else fields[2])
