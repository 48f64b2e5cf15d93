"""What people read: consoles, tables, times."""

from __future__ import annotations

import datetime
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from orchestration.cli.values import as_json

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

__all__ = [
    "NUMBERS", "ago", "clock", "console", "local", "note", "print_json", "say", "show", "size", "status_text", "table",
    "when", "wrapped",
]  # fmt: skip

_STATUS_STYLE = {
    "running": "cyan", "completed": "green", "failed": "red", "parked": "bold yellow", "cancelled": "yellow",
    "paused": "blue", "terminated": "magenta", "timed_out": "red",
}  # fmt: skip
_WIDTH_OF_FILES = 10_000
NUMBERS = frozenset(("#", "attempt", "attempts", "events", "restarts", "running", "runs"))
"""Columns that stand to the right."""


def console(*, stderr: bool = False) -> Console:
    """A console of the terminal's width; what is no terminal gets lines that nothing is cut off from."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else int(os.environ.get("COLUMNS") or _WIDTH_OF_FILES)
    return Console(stderr=stderr, highlight=False, soft_wrap=False, width=width, emoji=False, markup=False)


def table(*columns: str, fold: str = "", shorten: str = "") -> Table:
    """A table without frames, to be printed with :func:`show`.

    Args:
        columns: Their headings.
        fold: The column that goes on below itself when it is too long, since people copy it.
        shorten: The column that takes what the others leave; without one, all give way.
    """
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), expand=bool(shorten))
    for column in columns:
        is_number = column in NUMBERS
        made.add_column(
            column, overflow="fold" if column == fold else "ellipsis", no_wrap=column != fold,
            justify="right" if is_number else "left", ratio=1 if column == shorten else None,
        )  # fmt: skip
    return made


def show(shown: RenderableType) -> None:
    """Print something to stdout, without blanks at the ends of lines."""
    out = console()
    with out.capture() as captured:
        out.print(shown, crop=False)
    print("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")), flush=True)


def print_json(value: Any, *, pretty: bool | None = None) -> None:
    """Print one JSON value: indented for a terminal, on one line for a program."""
    is_pretty = sys.stdout.isatty() if pretty is None else pretty
    print(as_json(value, indent=2 if is_pretty else None), flush=True)


def say(text: str) -> None:
    """Say what was done, on stdout."""
    print(wrapped(text, sys.stdout), flush=True)


def note(text: str) -> None:
    """Say something beside the result."""
    print(wrapped(text, sys.stderr), file=sys.stderr, flush=True)


def wrapped(text: str, stream: IO[str]) -> str:
    """A text for people: broken between words for a terminal, as it stands for a file."""
    if not stream.isatty():
        return text
    width = console(stderr=stream is sys.stderr).width
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False, drop_whitespace=True)
        if len(line) > width else line
        for line in text.split("\n")
    )  # fmt: skip


def when(time_ms: int) -> str:
    """A time of the store in local ISO form with its distance; empty for 0."""
    return f"{local(time_ms)} ({ago(time_ms)})" if time_ms else ""


def local(time_ms: int) -> str:
    """A time of the store in local ISO form, to the second."""
    return datetime.datetime.fromtimestamp(time_ms / 1000).astimezone().isoformat(timespec="seconds")


def clock(times_ms: Sequence[int]) -> list[str]:
    """Times of the store for a column of a table: of one day, they need no date; in a file they are in full."""
    if not sys.stdout.isatty():
        return [local(time_ms) if time_ms else "" for time_ms in times_ms]
    moments = [datetime.datetime.fromtimestamp(time_ms / 1000).astimezone() for time_ms in times_ms]
    days = {moment.date() for moment, time_ms in zip(moments, times_ms, strict=True) if time_ms}
    form = "%H:%M:%S.%f" if len(days) <= 1 else "%Y-%m-%d %H:%M:%S"
    texts = [moment.strftime(form) for moment in moments]
    return [
        (text[:-3] if len(days) <= 1 else text) if time_ms else ""
        for text, time_ms in zip(texts, times_ms, strict=True)
    ]


def ago(time_ms: int) -> str:
    """Distance of a time from now, in its largest unit."""
    seconds = time.time() - time_ms / 1000
    text = _span(abs(seconds))
    return f"in {text}" if seconds < -1 else f"{text} ago"


def _span(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def size(count: int) -> str:
    """A number of bytes."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def status_text(status: str) -> Any:
    """A status in its colour."""
    from rich.text import Text

    return Text(status, _STATUS_STYLE.get(status, ""))
