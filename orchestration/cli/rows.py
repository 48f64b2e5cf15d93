"""Rows for people, in terminals of any width: a table where it fits, else each row on a line with more of it below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestration.cli.output import NUMBERS, console, show

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

__all__ = ["make_rows", "show_rows"]

_GAP = 2
_INDENT = 4


def show_rows(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, below: Sequence[str] = ()) -> None:
    """Print rows, see :func:`make_rows`."""
    show(make_rows(columns, rows, below=below))


def make_rows(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, below: Sequence[str] = ()) -> Group:
    """Lay rows out. Nothing is cut off: what people copy, as ids, stays whole. A column without a value is left out.

    Args:
        columns: Their headings. The first names the row, and stays on its line.
        rows: As many cells each, at least one row.
        below: Columns that go below the line when it would be too long, the last one first; then any.
    """
    from rich.console import Group
    from rich.text import Text

    width = console().width
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    used = [at for at in range(len(columns)) if at == 0 or any(row[at].plain for row in cells)]
    widths = {at: max(len(columns[at]), *(row[at].cell_len for row in cells)) for at in used}
    head = _head(columns, used, widths, below, width)
    lines = [_line([Text(name, "bold") for name in columns], head, widths, columns)]
    for row in cells:
        lines.append(_line(row, head, widths, columns))
        rest = Text(" " * _GAP).join(row[at] for at in used if at not in head and row[at].plain)
        for line in rest.wrap(console(), max(width - _INDENT, 20)) if rest.plain else ():
            line.rstrip()
            line.pad_left(_INDENT)
            lines.append(line)
    for line in lines:
        line.no_wrap, line.overflow = True, "ignore"  # an id that is wider than the terminal is left to the terminal
    return Group(*lines)


def _head(
    columns: Sequence[str], used: Sequence[int], widths: dict[int, int], below: Sequence[str], width: int
) -> list[int]:
    """The columns that stay on the line of a row."""

    def fits(head: Sequence[int]) -> bool:
        return sum(widths[at] for at in head) + _GAP * (len(head) - 1) <= width

    head, movable = list(used), list(below)
    while movable and not fits(head):
        name = movable.pop()
        head = [at for at in head if columns[at] != name]
    while len(head) > 1 and not fits(head):
        head.pop()
    return head


def _line(cells: Sequence[Text], head: Sequence[int], widths: dict[int, int], columns: Sequence[str]) -> Text:
    from rich.text import Text

    padded = []
    for at in head:
        cell = cells[at].copy()
        cell.align("right" if columns[at] in NUMBERS else "left", widths[at])
        padded.append(cell)
    return Text(" " * _GAP).join(padded)
