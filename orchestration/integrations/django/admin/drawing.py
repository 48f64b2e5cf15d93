"""A timeline as rows of bars, placed in thousandths of the width."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from orchestration.client import Description
from orchestration.core.timeline import Group, Timeline, fold_lanes, span_text

__all__ = ["Bar", "Row", "draw"]

WIDTH: Final = 1000
_LEAST: Final = 4
_MOST_ROWS: Final = 200
_MOST_BARS: Final = 200


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: where it begins, how long it is, how it ended, and what there is to say of it."""

    x: int
    width: int
    outcome: str
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the picture; ``after`` is how many lines were left out above it."""

    kind: str
    name: str
    note: str
    child: str
    bars: tuple[Bar, ...]
    after: int = 0


def draw(timeline: Timeline, seen: Description) -> list[Row]:
    """The rows of a run; of very many, the first and the last."""
    end_ms = seen.closed_ms or max(int(time.time() * 1000), timeline.last_ms)
    length = max(end_ms - timeline.started_ms, 1)
    groups = fold_lanes(timeline.lanes)
    first = groups[: _MOST_ROWS // 2]
    last = groups[max(len(groups) - _MOST_ROWS // 2, len(first)) :]
    left_out = len(groups) - len(first) - len(last)
    rows = [_row(group, timeline.started_ms, end_ms, length) for group in first]
    for index, group in enumerate(last):
        rows.append(_row(group, timeline.started_ms, end_ms, length, after=0 if index else left_out))
    return rows


def _row(group: Group, start_ms: int, end_ms: int, length: int, after: int = 0) -> Row:
    first = group.first
    bars = []
    step = max(len(group.lanes) // _MOST_BARS, 1)
    for lane in group.lanes[::step]:
        until = lane.end_ms if lane.end_ms is not None else end_ms
        x = min(max((lane.start_ms - start_ms) * WIDTH // length, 0), WIDTH - _LEAST)
        width = min(max((until - lane.start_ms) * WIDTH // length, _LEAST), WIDTH - x)
        words = [f"{lane.kind} {lane.name}", f"{lane.outcome}, {span_text(max(until - lane.start_ms, 0))}"]
        bars.append(Bar(x, width, lane.outcome, ": ".join(words)))
    count = len(group.lanes)
    span = span_text(max((group.end_ms or end_ms) - group.start_ms, 0))
    words = [f"× {count}"] if count > 1 else [first.state or first.outcome]
    if first.kind not in ("signal", "request", "effect", "send", "cancel"):
        words.append(span)
    if count == 1 and first.attempts > 1:
        words.append(f"{first.attempts} attempts")
    child = first.target if first.kind == "child" and count == 1 else ""
    return Row(first.kind, first.name, ", ".join(words), child, tuple(bars), after)
