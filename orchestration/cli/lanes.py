"""Lanes of a timeline as bars, on a scale that fits the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from orchestration.core.timeline import Group, span_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["draw_lanes", "tick_ms"]

_BARS: Final = {"activity": "█", "timer": "─", "child": "▒", "update": "█", "send": "○", "cancel": "○"}
_POINTS: Final = {"signal": "●", "request": "●", "effect": "◆", "send": "○", "cancel": "○"}
_STYLES: Final = {
    "completed": "green", "fired": "blue", "received": "magenta", "failed": "red", "cancelled": "yellow",
    "open": "cyan",
}  # fmt: skip
_MEANINGS: Final = (
    ("activity", "█ activity"), ("timer", "─ timer"), ("child", "▒ child"), ("update", "█ update"),
    ("signal", "● came in"), ("request", "● came in"), ("send", "○ sent"), ("cancel", "○ sent"),
    ("effect", "◆ side effect"),
)  # fmt: skip
_NICE: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SECONDS: Final = (1, 2, 5, 10, 15, 30)
_LEAST_BAR: Final = 16
_TICK_WIDTH: Final = 12


def draw_lanes(
    groups: Sequence[Group], from_ms: int, until_ms: int, *, width: int, gap: tuple[int, int] = (0, 0)
) -> RenderableType:
    """Draw lanes, one below the other, and the scale above them.

    Args:
        groups: The lines.
        from_ms: Where the scale begins.
        until_ms: Where it ends.
        width: Columns that there are.
        gap: After how many lines others were left out, and how many.
    """
    from rich.console import Group as Lines
    from rich.text import Text

    names = [_name(group) for group in groups]
    ends = [_ending(group, until_ms) for group in groups]
    end_width = min(max(map(len, ends)), 24)
    name_width = min(max(map(len, names)), max(width - end_width - 4 - max(_LEAST_BAR, width // 3), 12))
    scale = _Scale(from_ms, max(until_ms, from_ms + 1), width - name_width - end_width - 4)
    lines: list[Text] = [Text(" " * (name_width + 2) + scale.ticks(), "dim")]
    for number, (group, name, end) in enumerate(zip(groups, names, ends, strict=True), 1):
        lane = group.first
        line = Text(_fit(name, name_width).ljust(name_width) + "  ")
        line.append(scale.bar(group), _STYLES[lane.outcome])
        is_well = lane.outcome in ("completed", "fired")
        line.append("  " + end.rjust(end_width), "" if is_well else _STYLES[lane.outcome])
        lines.append(line)
        if lane.error:
            told = Text(f"    {lane.error}", "red" if lane.outcome == "failed" else "yellow")
            told.truncate(width, overflow="ellipsis")
            lines.append(told)
        if number == gap[0]:
            lines.append(Text(f"    … {gap[1]} more; --all shows them", "dim"))
    kinds = {group.first.kind for group in groups}
    meanings = dict.fromkeys(text for kind, text in _MEANINGS if kind in kinds)
    is_open = any(group.end_ms is None for group in groups)
    lines.append(Text("  ".join([*meanings, *(["▶ still open"] if is_open else [])]), "dim"))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Lines(*lines)


def tick_ms(span_ms: int, most: int) -> int:
    """A round distance of ticks, so that no more than so many fit into a span."""
    least = span_ms / max(most, 1)
    for unit, steps in ((1, _NICE), (1_000, _SECONDS), (60_000, _SECONDS), (3_600_000, (1, 2, 3, 6, 12))):
        for step in steps:
            if unit * step >= least:
                return unit * step
    days = math.ceil(least / 86_400_000)
    power = 10 ** (len(str(days)) - 1)
    return int(86_400_000 * math.ceil(days / power) * power)


class _Scale:
    """Turns times into columns.

    Args:
        from_ms: Time of the left edge.
        until_ms: Time of the right edge.
        width: Columns between them.
    """

    def __init__(self, from_ms: int, until_ms: int, width: int) -> None:
        self._from = from_ms
        self._span = until_ms - from_ms
        self._until = until_ms
        self._width = max(width, 1)

    def ticks(self) -> str:
        """The scale: lengths of time since the beginning."""
        step = tick_ms(self._span, max(self._width // _TICK_WIDTH, 1))
        line = ""
        for at_ms in range(0, self._span + 1, step):
            column = self._column(self._from + at_ms)
            label = f"╷{span_text(at_ms) if at_ms else '0'}"
            if column + len(label) <= self._width and column >= len(line):
                line = line.ljust(column) + label
        return line

    def bar(self, group: Group) -> str:
        """The bar of a line."""
        lane = group.first
        start = min(self._column(group.start_ms), self._width - 1)
        end = self._column(self._until if group.end_ms is None else group.end_ms)
        length = max(min(end, self._width) - start, 1)
        if length == 1 and lane.kind in _POINTS and group.end_ms is not None:
            drawn = _POINTS[lane.kind]
        else:
            drawn = _BARS.get(lane.kind, "█") * length
        if group.end_ms is None:
            drawn = drawn[:-1] + "▶"
        elif lane.outcome in ("failed", "cancelled"):
            drawn = drawn[:-1] + ("✗" if lane.outcome == "failed" else "╳")
        return (" " * start + drawn).ljust(self._width)

    def _column(self, time_ms: int) -> int:
        return round((time_ms - self._from) / self._span * self._width)


def _name(group: Group) -> str:
    lane, count = group.first, len(group.lanes)
    name = {"activity": lane.name, "timer": f"sleep {lane.name}", "effect": lane.name}.get(
        lane.kind, f"{lane.kind} {lane.name}"
    )
    return f"{count} × {name}" if count > 1 else name


def _ending(group: Group, until_ms: int) -> str:
    lane = group.first
    words = []
    attempts = max(item.attempts for item in group.lanes)
    if attempts > 1:
        words.append(f"try {attempts}" if group.end_ms is None else f"{attempts} tries")
    if lane.outcome in ("failed", "cancelled"):
        words.append(lane.outcome)
    elif group.end_ms is None:
        words.append(lane.state or "open")
    if lane.outcome != "received" and lane.kind != "effect":
        words.append(span_text((until_ms if group.end_ms is None else group.end_ms) - group.start_ms))
    return " ".join(words)


def _fit(text: str, width: int) -> str:
    """A name with its middle left out, if it is too long: beginnings and ends tell names apart."""
    if len(text) <= width:
        return text
    left = (width - 1) // 2
    return f"{text[:left]}…{text[-(width - 1 - left) :]}"
