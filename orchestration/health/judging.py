"""Whether a run has something that will move it, and each of its open commands something that will answer it.

Pure: a snapshot of a run in, its wake sources and what is lost out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from orchestration.core.durations import format_duration
from orchestration.core.events import Code
from orchestration.store.audits import OpenEntry, Snapshot
from orchestration.tasks.chain_options import ChainOptions

__all__ = ["Fault", "Mender", "Wake", "child_entries", "judge"]

_ANSWERS: Final = frozenset(
    (
        Code.ACTIVITY_COMPLETED, Code.ACTIVITY_FAILED, Code.TIMER_FIRED, Code.OPERATION_DONE, Code.CHILD_ENDED,
        Code.CHILD_START_FAILED,
    )
)  # fmt: skip
_LENGTHS: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
"""Bytes of a msgpack number behind each first byte."""


class Mender(enum.Enum):
    """Who puts something right."""

    SWEEP = "sweep"
    """The workers' own sweep, as soon as one sweeps: nothing is lost."""
    AUDIT = "audit"
    """``orchestration audit --repair``; nobody else."""
    OPERATOR = "operator"
    """A person: what is lost cannot be made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """A reason why a run will move again.

    Attributes:
        seq: Number of the command that it answers; 0: it moves the run itself.
        source: What it is, for people.
        due_ms: When it comes, in milliseconds since 1970; 0 when that is not known.
    """

    seq: int
    source: str
    due_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that should move a run and is not there, or is late.

    Attributes:
        kind: ``inbox``, ``start``, ``delay``, ``deadline``, ``timeout``, ``expiry``, ``listing`` (of parked runs),
            ``unlisted``, ``timer``, ``activity``, ``surplus``, ``request``, ``child``, ``outbox``, ``bundle`` or
            ``late``.
        seq: Number of the command that waits for it; 0: the run itself does.
        message: What is wrong, for people.
        by: Who puts it right.
        cure: What to do.
    """

    kind: str
    seq: int
    message: str
    by: Mender
    cure: str


REPAIR: Final = "orchestration audit --repair puts it back"
_TAKE: Final = "orchestration audit --repair takes that off"
_SURPLUS: Final = {
    "pending": "looked after as one that nobody has claimed",
    "/close": "among the timers with a start-to-close timeout",
    "/retry": "among the timers with a next attempt",
}
_SWEEP: Final = "a worker that sweeps does this: orchestration doctor --only workers says whether there is one"


def child_entries(seen: Snapshot) -> list[OpenEntry]:
    """Children whose end is waited for, with no outbox entry that is about them and no answer in the inbox."""
    answered, is_sure = _answered(seen.heads, seen.unread)
    return [c for c in seen.commands if c.kind == "child" and not c.outbox and c.seq not in answered and is_sure]


def judge(seen: Snapshot, *, late_ms: int, told: Iterable[int] = ()) -> tuple[list[Wake], list[Fault]]:
    """Look at one run.

    Args:
        seen: The run at one moment.
        late_ms: How much later than its time something is late.
        told: Numbers of the children of :func:`child_entries` that will tell their end.

    Returns:
        Its wake sources, and what is wrong.
    """
    return _Judge(seen, late_ms, frozenset(told)).judge()


class _Judge:
    def __init__(self, seen: Snapshot, late_ms: int, told: frozenset[int]) -> None:
        self._seen = seen
        self._late_ms = late_ms
        self._told = told
        self._answered, self._is_sure = _answered(seen.heads, seen.unread)
        self._wakes: list[Wake] = []
        self._faults: list[Fault] = []

    def judge(self) -> tuple[list[Wake], list[Fault]]:
        seen = self._seen
        status = seen.fields.get("status", "")
        if status == "running":
            self._running()
        else:
            self._wakes.append(Wake(seq=0, source=f"an operator: it is {status}"))
        if status == "parked" and not seen.is_listed_parked:
            self._fault("listing", "it is parked, and not on the list of parked runs")
        if not seen.is_listed:
            self._fault("unlisted", "it is open, and not on the list of open runs: no list shows it")
        deadline = seen.number("deadline")
        if deadline and seen.deadline_ms is None:
            self._fault("deadline", "its execution timeout is not among the timers: it would never end it")
        if ChainOptions(seen.fields.get("opts", "")).run_timeout_ms and seen.timeout_ms is None:
            self._fault("timeout", "its run timeout is not among the timers: it would never end it")
        if seen.number("expires") and not seen.number("length") and seen.expiry_ms is None:
            self._fault("expiry", "it expires before it has begun, and that is not among the timers: nothing ends it")
        for command in seen.commands:
            _COMMANDS[command.kind](self, command)
        if status == "running" and not self._wakes and not self._faults:
            self._wakes.append(Wake(seq=0, source="a message: a signal, an update or a cancel request"))
        return self._wakes, self._faults

    def _running(self) -> None:
        seen = self._seen
        if seen.number("delayed") > seen.time_ms:
            if seen.delay_ms is None:
                self._fault("delay", "its start delay is not among the timers: it would never begin")
            else:
                self._wakes.append(Wake(seq=0, source="its start delay", due_ms=seen.delay_ms))
        elif seen.delay_ms is not None:
            self._due(0, "its start delay", seen.delay_ms)
        elif seen.is_held:
            self._wakes.append(Wake(seq=0, source=f"a worker that is at it ({seen.fields.get('owner', '')})"))
        elif seen.unread and seen.ready_ms is None:
            self._fault("inbox", f"{_count(seen.unread, 'input')} unread, and no worker will look after it")
        elif seen.unread and seen.ready_ms is not None:
            self._due(0, f"{_count(seen.unread, 'input')} unread", seen.ready_ms)
        elif not seen.number("length"):
            self._fault(
                "start", "it has not begun, and its start is not in its inbox any more", by=Mender.OPERATOR,
                cure="terminate it and start it again: nothing of it has been done",
            )  # fmt: skip

    def _timer(self, command: OpenEntry) -> None:
        if command.source_ms is not None:
            self._due(command.seq, f"timer {command.seq}", command.source_ms)
        elif self._may_be_answered(command.seq):
            self._wakes.append(Wake(seq=command.seq, source=f"timer {command.seq} has fired, unread"))
        else:
            what = f"timer {command.seq} is open, and not among the timers: it would never fire"
            self._fault("timer", what, command.seq)

    def _activity(self, command: OpenEntry) -> None:
        state, seq = command.state, command.seq
        if state is None:
            self._fault(
                "activity", f"activity {seq} is open, and where it stands is not known", seq, by=Mender.OPERATOR,
                cure="orchestration reset ID --to last runs it anew",
            )  # fmt: skip
            return
        what = f"activity {seq}, attempt {state.attempt}"
        if command.surplus:
            also = " and ".join(_SURPLUS[name] for name in command.surplus)
            self._fault("surplus", f"{what} is {state.state}, and also {also}", seq, cure=_TAKE)
        if command.outbox and state.state == "scheduled":
            self._entry(command, f"the message of {what}")
            return
        if state.state == "reported":
            if self._may_be_answered(seq):
                self._wakes.append(Wake(seq=seq, source=f"{what} has ended, unread"))
            else:
                self._fault(
                    "activity", f"{what} has ended, and its answer is not in the inbox any more", seq,
                    by=Mender.OPERATOR, cure="orchestration reset ID --to last runs it anew",
                )  # fmt: skip
            return
        words = _STATES.get(state.state)
        if words is None:
            self._wakes.append(Wake(seq=seq, source=f"{what} is {state.state} (not known to this release)"))
        elif command.source_ms is None:
            self._fault("activity", f"{what} {words[0]}, and {words[1]}", seq)
        elif state.state == "scheduled":  # a long queue is no fault
            self._wakes.append(Wake(seq=seq, source=f"{what} {words[0]}"))
        else:
            self._due(seq, f"{what} {words[0]}", command.source_ms)

    def _request(self, command: OpenEntry) -> None:
        self._sent(command, "request", f"request {command.seq} to another run")

    def _child(self, command: OpenEntry) -> None:
        if not command.outbox and command.seq in self._told:
            self._wakes.append(Wake(seq=command.seq, source=f"the end of child {command.seq}"))
            return
        self._sent(command, "child", f"child {command.seq}")

    def _sent(self, command: OpenEntry, kind: str, what: str) -> None:
        if command.outbox:
            self._entry(command, f"the outbox entry of {what}")
        elif self._may_be_answered(command.seq):
            self._wakes.append(Wake(seq=command.seq, source=f"{what} is answered, unread"))
        else:
            self._fault(kind, f"{what} is open, and nobody will answer it", command.seq)

    def _unknown(self, command: OpenEntry) -> None:
        self._wakes.append(Wake(seq=command.seq, source=f"command {command.seq} (not known to this release)"))

    def _entry(self, command: OpenEntry, what: str) -> None:
        if command.outbox_ms is None:
            self._fault("outbox", f"{what} is there, and no worker will take it up", command.seq)
        else:
            self._due(command.seq, what, command.outbox_ms)

    def _due(self, seq: int, what: str, due_ms: int) -> None:
        """It comes at its time, or is late: then the sweep has not looked after it."""
        self._wakes.append(Wake(seq=seq, source=what, due_ms=due_ms))
        late_ms = self._seen.time_ms - due_ms
        if late_ms > self._late_ms:
            self._fault("late", f"{what}: late by {format_duration(late_ms)}", seq, by=Mender.SWEEP, cure=_SWEEP)

    def _may_be_answered(self, seq: int) -> bool:
        return seq in self._answered or not self._is_sure

    def _fault(self, kind: str, message: str, seq: int = 0, *, by: Mender = Mender.AUDIT, cure: str = REPAIR) -> None:
        self._faults.append(Fault(kind=kind, seq=seq, message=message, by=by, cure=cure))


_COMMANDS: Final = {
    "timer": _Judge._timer, "activity": _Judge._activity, "request": _Judge._request, "child": _Judge._child,
    "unknown": _Judge._unknown,
}  # fmt: skip
_STATES: Final = {
    "scheduled": ("is sent and not claimed", "the sweep does not know: a lost message would not be sent again"),
    "claimed": ("is run by a worker", "its start-to-close timeout is not among the timers"),
    "waiting": ("waits for Celery's own retry", "its start-to-close timeout is not among the timers"),
    "external": ("is in the hands of somebody outside", "its start-to-close timeout is not among the timers"),
    "backoff": ("waits for its next attempt", "that is not among the timers: it would never come"),
}  # fmt: skip


def _answered(heads: tuple[bytes, ...], unread: int) -> tuple[frozenset[int], bool]:
    """Numbers of the commands that unread inputs answer, and whether those are all."""
    found, is_sure = set[int](), len(heads) == unread
    for head in heads:
        if len(head) < 3 or head[1] not in _ANSWERS:
            continue
        first = head[2]
        if first < 0x80:
            found.add(first)
        elif first in _LENGTHS:
            found.add(int.from_bytes(head[3 : 3 + _LENGTHS[first]], "big"))
        else:  # it stands elsewhere, and here is not said what it answers
            is_sure = False
    return frozenset(found), is_sure


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s'[: number != 1]}"
