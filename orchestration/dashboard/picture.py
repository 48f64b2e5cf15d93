"""A timeline as rows of bars: where each begins and ends, in hundredths of the width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestration.client import Description, PendingActivity
from orchestration.core.timeline import Lane, Timeline, span_text

__all__ = ["Bar", "Group", "Picture", "Row", "make_picture"]

_GROUPS: Final = (
    ("Activities", ("activity",)), ("Timers", ("timer",)), ("Children", ("child",)),
    ("Signals", ("signal", "request")), ("Updates", ("update",)), ("To others", ("send", "cancel")),
    ("Side effects", ("effect",)),
)  # fmt: skip
_MOST_ROWS: Final = 40
"""Rows of one group; with more spans those of one name share rows."""
_MOST_BARS: Final = 3_000
_LEAST_WIDTH: Final = 0.35
_POINTS: Final = ("signal", "request", "effect")
_TICKS: Final = (0.0, 25.0, 50.0, 75.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar.

    Attributes:
        x: Where it begins, in hundredths of the width.
        width: How long it is, likewise.
        style: ``completed``, ``failed``, ``cancelled``, ``open``, ``fired``, ``received``, ``waiting`` or ``backoff``.
        title: What there is to say of it.
    """

    x: float
    width: float
    style: str
    title: str


@dataclass(slots=True, kw_only=True)
class Row:
    """Bars beside each other, under one name.

    Attributes:
        name: Entry id, topic, length of a timer.
        note: Its number, attempts and length; or how many there are.
        link: Workflow id of a child; empty for none.
        bars: In the order in which they began.
    """

    name: str
    note: str
    link: str = ""
    bars: list[Bar] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of one sort."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All there is to be drawn.

    Attributes:
        groups: Those that have rows.
        ticks: Place and text of the marks of the axis.
        left_out: Number of bars that are not drawn.
    """

    groups: tuple[Group, ...]
    ticks: tuple[tuple[float, str], ...]
    left_out: int


class _Scale:
    def __init__(self, start_ms: int, end_ms: int) -> None:
        self._start = start_ms
        self._length = max(end_ms - start_ms, 1)

    def bar(self, from_ms: int, to_ms: int, style: str, title: str) -> Bar:
        x = min(max((from_ms - self._start) / self._length * 100, 0.0), 100 - _LEAST_WIDTH)
        width = min(max((to_ms - from_ms) / self._length * 100, _LEAST_WIDTH), 100 - x)
        return Bar(x=round(x, 3), width=round(width, 3), style=style, title=title)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        return tuple((at, f"+{span_text(self._length * at / 100)}" if at else "0") for at in _TICKS)


def make_picture(timeline: Timeline, seen: Description, *, now_ms: int) -> Picture:
    """Place the bars.

    Args:
        timeline: What the run did.
        seen: Where it stands: the attempts of its open activities, and what its coroutines wait for.
        now_ms: Where what is open ends.
    """
    known = {activity.seq: activity for activity in seen.pending}
    due = max((item.since_ms for item in seen.pending if item.state == "backoff"), default=0)
    ahead = now_ms + max(now_ms - timeline.started_ms, 0) // 4  # more of the future would leave no room for the past
    end_ms = seen.closed_ms or max(now_ms, timeline.last_ms, min(due, ahead))
    scale = _Scale(timeline.started_ms, end_ms)
    left = _MOST_BARS
    groups = []
    for title, kinds in _GROUPS:
        lanes = [lane for lane in timeline.lanes if lane.kind in kinds]
        drawn = lanes[-left:] if left else []  # the latest, when there are too many
        left -= len(drawn)
        if drawn:
            groups.append(Group(title=title, rows=tuple(_rows(drawn, known, scale, end_ms, now_ms))))
    waits = [
        Row(name=place.waits_for, note=f"since {span_text(max(now_ms - place.since_ms, 0))}",
            bars=[scale.bar(place.since_ms, now_ms, "waiting", f"{place.file}:{place.line}\n{place.waits_for}")])
        for place in seen.places[:_MOST_ROWS] if place.waits_for and place.since_ms
    ]  # fmt: skip
    if waits:
        groups.append(Group(title="Waits for", rows=tuple(waits)))
    total = len(timeline.lanes)
    return Picture(groups=tuple(groups), ticks=scale.ticks(), left_out=max(total - _MOST_BARS, 0))


def _rows(
    lanes: Sequence[Lane], known: Mapping[int, PendingActivity], scale: _Scale, end_ms: int, now_ms: int
) -> list[Row]:
    is_single = len(lanes) <= _MOST_ROWS
    rows: list[Row] = []
    shared: dict[str, list[Row]] = {}
    ends: dict[int, int] = {}
    counts: dict[str, int] = {}
    for lane in lanes:
        bars = _bars(lane, known.get(lane.seq) if lane.kind == "activity" else None, scale, end_ms, now_ms)
        if is_single and lane.kind not in _POINTS:
            note = _note(lane, known.get(lane.seq) if lane.kind == "activity" else None)
            rows.append(Row(name=lane.name, note=note, link=lane.target if lane.kind == "child" else "", bars=bars))
            continue
        mine = shared.setdefault(lane.name, [])
        counts[lane.name] = counts.get(lane.name, 0) + 1
        row = next((row for row in mine if ends[id(row)] <= lane.start_ms), None)
        if row is None:
            if mine and len(rows) >= _MOST_ROWS:
                row = mine[-1]
            else:
                row = Row(name=lane.name, note="")
                mine.append(row)
                rows.append(row)
        row.bars += bars
        ends[id(row)] = lane.end_ms if lane.end_ms is not None else end_ms + 1
    for name, mine in shared.items():
        failed = sum(lane.outcome == "failed" for lane in lanes if lane.name == name)
        mine[0].note = f"× {counts[name]:,}" + (f", {failed:,} failed" if failed else "")
        for other in mine[1:]:
            other.name = ""
    return rows


def _bars(lane: Lane, activity: PendingActivity | None, scale: _Scale, end_ms: int, now_ms: int) -> list[Bar]:
    until = lane.end_ms
    if until is None:  # an axis that reaches into the future does so for an attempt that is not made yet
        until = max(now_ms, lane.start_ms) if lane.kind == "activity" else end_ms
    title = _title(lane, until)
    if lane.end_ms is not None or activity is None or not activity.since_ms:
        return [scale.bar(lane.start_ms, until, lane.outcome, title)]
    told = f"{title}\n{activity.state}, attempt {activity.attempt}"
    if activity.state == "backoff":  # when the attempt before has failed is kept nowhere
        return [scale.bar(lane.start_ms, max(activity.since_ms, now_ms), "backoff", told)]
    if activity.state == "scheduled":
        return [scale.bar(lane.start_ms, until, "waiting", told)]
    return [
        scale.bar(lane.start_ms, activity.since_ms, "waiting", f"{title}\nuntil attempt {activity.attempt} began"),
        scale.bar(activity.since_ms, until, "open", told),
    ]


def _title(lane: Lane, until: int) -> str:
    lines = [f"{lane.kind} {lane.name}" + (f" #{lane.seq}" if lane.seq else "")]
    if lane.kind not in _POINTS:
        lines.append(f"{lane.outcome}, {span_text(max(until - lane.start_ms, 0))}")
    if lane.attempts > 1:
        lines.append(f"{lane.attempts} attempts")
    if lane.target:
        lines.append(lane.target)
    if lane.error:
        lines.append(lane.error[:300])
    return "\n".join(lines)


def _note(lane: Lane, activity: PendingActivity | None) -> str:
    words = [f"#{lane.seq}"] if lane.seq else []
    attempts = max(lane.attempts, activity.attempt if activity else 0)
    if attempts > 1:
        words.append(f"attempt {attempts}" if lane.end_ms is None else f"{attempts} attempts")
    if activity is not None:
        words.append(activity.state)
    elif lane.end_ms is not None:
        words.append(span_text(lane.end_ms - lane.start_ms))
    return ", ".join(words)
