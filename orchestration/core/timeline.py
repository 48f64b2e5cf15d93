"""What a run did, as lanes: one for each activity, timer, child, message, update: when it began, when and how it ended.

A lane also says what it came after, which makes the lanes a graph without cycles. A step comes after whatever had
ended when the code asked for it and had led to nothing else before: what waited for two activities comes after both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestration.core import events, payload
from orchestration.core.pid import parse_pid

__all__ = ["Group", "Lane", "Timeline", "fold_lanes", "read_timeline", "span_text"]

WORTH_FOLDING: Final = 5
"""Lanes in a row that are alike; fewer are shown one by one."""


@dataclass(slots=True, kw_only=True)
class Lane:
    """One thing that a run did or was told.

    Attributes:
        kind: activity, timer, child, signal (that it received), send (a message to somebody), cancel (of somebody),
            update, request (to end), or effect (code that ran once).
        name: Entry id, topic, name of the update, or length of the timer.
        seq: Number of the command in the run; 0 for what came from outside.
        start_ms: When it was asked for, or came.
        end_ms: When it ended; None while it is open.
        outcome: open, completed, failed, cancelled; fired for timers, received for what came from outside.
        attempts: The attempt that ended it, or is open now; 0 where there are none.
        error: Why it failed, or the attempt before did.
        state: While it is open: where it stands, as scheduled, claimed, backoff.
        target: Workflow id of a child, address of whom something is sent to.
        after: Places, in the list of lanes, of those it came after.
    """

    kind: str
    name: str
    seq: int = 0
    start_ms: int = 0
    end_ms: int | None = None
    outcome: str = "open"
    attempts: int = 0
    error: str = ""
    state: str = ""
    target: str = ""
    after: tuple[int, ...] = ()


@dataclass(slots=True, kw_only=True)
class Timeline:
    """What a run did.

    Attributes:
        started_ms: When it began; 0 when it has not.
        last_ms: Time of its last input.
        ending: complete, fail, continue_as_new, terminated or timed_out; empty while it is open.
        lanes: In the order in which they began.
        after: Places of the lanes that the end came after.
    """

    started_ms: int = 0
    last_ms: int = 0
    ending: str = ""
    lanes: list[Lane] = field(default_factory=list)
    after: tuple[int, ...] = ()


@dataclass(slots=True, kw_only=True)
class Group:
    """Lanes in a row that are alike, shown as one.

    Attributes:
        lanes: At least one.
        places: Where they are in the list of lanes.
    """

    lanes: list[Lane]
    places: list[int]

    @property
    def first(self) -> Lane:
        """The first of them."""
        return self.lanes[0]

    @property
    def start_ms(self) -> int:
        """When the first began."""
        return min(lane.start_ms for lane in self.lanes)

    @property
    def end_ms(self) -> int | None:
        """When the last ended; None while one is open."""
        ends = [lane.end_ms for lane in self.lanes if lane.end_ms is not None]
        return max(ends) if len(ends) == len(self.lanes) else None


def read_timeline(history: Iterable[bytes]) -> Timeline:
    """The lanes of a history.

    Args:
        history: The encoded events, oldest first.

    Raises:
        CorruptHistoryError: Some bytes are no event.
    """
    reader = _Reader()
    for raw in history:
        reader.take(events.decode(raw))
    return reader.timeline


def fold_lanes(lanes: Sequence[Lane], *, least: int = WORTH_FOLDING) -> list[Group]:
    """Put lanes in a row that are alike into groups.

    Args:
        lanes: All of them.
        least: So many, at least, make a group.
    """
    groups: list[Group] = []
    for row in _rows_of_alike(lanes):
        if len(row) >= least:
            groups.append(Group(lanes=[lanes[at] for at in row], places=row))
        else:
            groups += [Group(lanes=[lanes[at]], places=[at]) for at in row]
    return groups


def span_text(span_ms: float) -> str:
    """A length of time in its two largest units: ``340 ms``, ``2.5 s``, ``3m 20s``, ``2d 4h``."""
    if span_ms < 999.5:
        return f"{span_ms:.0f} ms"
    seconds = span_ms / 1000
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, length)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count}{unit}" for count, unit in parts[:2] if count)


def _rows_of_alike(lanes: Sequence[Lane]) -> Iterator[list[int]]:
    row: list[int] = []
    for at, lane in enumerate(lanes):
        if row and _looks(lanes[row[-1]]) != _looks(lane):
            yield row
            row = []
        row.append(at)
    if row:
        yield row


def _looks(lane: Lane) -> tuple[object, ...]:
    return lane.kind, lane.name, lane.outcome, lane.state


class _Reader:
    """Reads events one by one."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self._now = 0
        self._by_seq: dict[int, int] = {}
        self._updates: dict[str, int] = {}
        self._ended: list[int] = []  # lanes that have ended and led to nothing yet
        self._started: tuple[int, ...] = ()  # a child whose start is the present input
        self._causes: tuple[int, ...] | None = None  # of the commands of the present input, once there is one

    def take(self, event: events.Event) -> None:
        """Take in the next event."""
        time_ms = getattr(event, "time_ms", None)
        if time_ms is None:
            self._command(event)
            return
        if self._causes is not None:
            self._ended, self._causes = [], None
        self._started = ()
        self._now = self.timeline.last_ms = time_ms
        self._input(event)

    def _input(self, event: events.Event) -> None:
        match event:
            case events.Started():
                self.timeline.started_ms = self._now
            case events.ActivityCompleted(seq=seq, info=info):
                self._end(seq, "completed", attempts=(info or {}).get("attempt", 1))
            case events.ActivityFailed(seq=seq, failure=failure, info=info):
                self._end(seq, "failed", attempts=(info or {}).get("attempt", 1), error=_error(failure))
            case events.TimerFired(seq=seq):
                self._end(seq, "fired")
            case events.ChildStarted(seq=seq, pid=pid):
                self._child_started(seq, pid)
            case events.ChildStartFailed(seq=seq, failure=failure):
                self._end(seq, "failed", error=_error(failure))
            case events.ChildEnded(seq=seq, ok=ok, value=value) | events.OperationDone(seq=seq, ok=ok, value=value):
                self._end(seq, "completed" if ok else "failed", error="" if ok else _error(value))
            case events.Signal(topic=topic, from_pid=sender):
                self._received("signal", topic, sender)
            case events.CancelRequested(from_pid=sender):
                self._received("request", "cancel", sender)
            case events.Update(update_id=update_id, name=name, from_pid=sender):
                self._updates[update_id] = self._begin("update", name, target=sender)
                self._ended.append(self._updates[update_id])
            case events.Terminated() | events.TimedOut():
                self._close(event)

    def _command(self, event: events.Event) -> None:
        if self._causes is None:
            self._causes = (*self._ended, *(at for at in self._started if at not in self._ended))
        match event:
            case events.ScheduleActivity(seq=seq, target=target):
                self._begin("activity", target, seq=seq)
            case events.StartTimer(seq=seq, delay_ms=delay_ms):
                self._begin("timer", span_text(delay_ms), seq=seq)
            case events.StartChild(seq=seq, type=name):
                self._begin("child", name, seq=seq)
            case events.SendSignal(seq=seq, topic=topic, pid=pid):
                self._begin("send", topic, seq=seq, target=pid)
            case events.CancelExternal(seq=seq, pid=pid, terminate=terminate):
                self._begin("cancel", "terminate" if terminate else "cancel", seq=seq, target=pid)
            case events.SideEffect(seq=seq, how=how):
                failed = how in ("error", "raised")
                at = self._begin("effect", "side effect", seq=seq)
                self._finish(at, "failed" if failed else "completed")
            case events.CancelTimer(timer_seq=seq):
                self._end(seq, "cancelled", leads_on=False)
            case events.CancelActivity(activity_seq=seq, wait=wait) if not wait:
                self._end(seq, "cancelled", leads_on=False)
            case events.UpdateDone(update_id=update_id, ok=ok, value=value):
                at = self._updates.get(update_id, -1)
                if at >= 0:
                    self._finish(at, "completed" if ok else "failed", error="" if ok else _error(value))
            case events.Complete() | events.Fail() | events.ContinueAsNew():
                self._close(event)

    def _begin(self, kind: str, name: str, *, seq: int = 0, target: str = "") -> int:
        lanes = self.timeline.lanes
        after = self._causes if self._causes is not None and seq else ()
        lanes.append(Lane(kind=kind, name=name, seq=seq, start_ms=self._now, target=target, after=after))
        if seq:
            self._by_seq[seq] = len(lanes) - 1
        return len(lanes) - 1

    def _received(self, kind: str, name: str, sender: str) -> None:
        at = self._begin(kind, name, target=sender)
        self._finish(at, "received")
        self._ended.append(at)

    def _child_started(self, seq: int, pid: str) -> None:
        at = self._by_seq.get(seq)
        if at is not None:
            parsed = parse_pid(pid)
            self.timeline.lanes[at].target = parsed.unique if parsed else pid
            self._started = (at,)

    def _end(self, seq: int, outcome: str, *, attempts: int = 0, error: str = "", leads_on: bool = True) -> None:
        at = self._by_seq.get(seq)
        if at is None or self.timeline.lanes[at].end_ms is not None:
            return
        self._finish(at, outcome, error=error)
        self.timeline.lanes[at].attempts = attempts
        if leads_on and at not in self._ended:
            self._ended.append(at)

    def _finish(self, at: int, outcome: str, *, error: str = "") -> None:
        lane = self.timeline.lanes[at]
        lane.end_ms, lane.outcome, lane.error = self._now, outcome, error

    def _close(self, event: events.Event) -> None:
        self.timeline.ending = event.CODE.name.lower()
        self.timeline.after = self._causes if self._causes is not None else tuple(self._ended)


def _error(failure: bytes) -> str:
    told = payload.decode_failure(failure)
    return ": ".join(str(told[name]) for name in ("kind", "message") if told.get(name))
