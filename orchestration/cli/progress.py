"""A bar for work that takes long, on stderr; only where somebody sits before it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from orchestration.cli.output import console

__all__ = ["WORTH_A_BAR", "counted", "progress_bar"]

WORTH_A_BAR = 50
"""Items; fewer are done before a bar could be read."""

_Item = TypeVar("_Item")
_Advance = Callable[[], None]
_Write = Callable[[str], None]


@contextlib.contextmanager
def progress_bar(total: int, what: str) -> Iterator[tuple[_Advance, _Write]]:
    """Show how far a piece of work has come.

    Args:
        total: How many items it has.
        what: What is done to them, in a word.

    Returns:
        To be called after each item; and what writes a line to stdout meanwhile, above the bar.
    """
    if total < WORTH_A_BAR or not sys.stderr.isatty():
        yield lambda: None, _write
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=console(stderr=True), transient=True, redirect_stdout=False)
    with shown:
        task = shown.add_task(what, total=total)

        def write(line: str) -> None:
            if sys.stdout.isatty():  # the same terminal: the line must not go through the bar
                shown.console.print(line, soft_wrap=True)
            else:
                _write(line)

        yield lambda: shown.advance(task), write


def counted(items: Iterable[_Item], total: int, what: str) -> Iterator[_Item]:
    """The items, with a bar that shows how many of them have been dealt with."""
    with progress_bar(total, what) as (advance, _):
        for item in items:
            yield item
            advance()


def _write(line: str) -> None:
    print(line, flush=True)
