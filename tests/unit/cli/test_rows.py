"""Rows and lanes in terminals of any width."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from orchestration.cli import rows as rows_module
from orchestration.cli.lanes import draw_lanes, tick_ms
from orchestration.cli.rows import make_rows
from orchestration.core.timeline import Group, Lane

COLUMNS = ("id", "type", "status", "reason", "events")
LONG = "0297c154bca8233de88dfb271ea4d1be_4"


def rendered(shown: RenderableType, width: int) -> list[str]:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(shown, crop=False)
    return [line.rstrip() for line in captured.get().rstrip("\n").split("\n")]


def lines(monkeypatch: pytest.MonkeyPatch, width: int, rows: Sequence[Sequence[str]]) -> list[str]:
    monkeypatch.setattr(rows_module, "console", lambda: Console(width=width))
    return rendered(make_rows(COLUMNS, rows, below=("type", "reason")), width)


def test_a_table_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["a-1", "app:t", "running", "", "7"], [LONG, "app:longer", "failed", "", "123"]]
    assert lines(monkeypatch, 80, rows) == [
        "id                                  type        status   events",
        "a-1                                 app:t       running       7",
        "0297c154bca8233de88dfb271ea4d1be_4  app:longer  failed      123",
    ]


def test_more_below_each_row_where_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[LONG, "app:t", "parked", "it wanted more than it may have, and that is how it is", "7"]]
    assert lines(monkeypatch, 70, rows) == [
        "id                                  type   status  events",
        "0297c154bca8233de88dfb271ea4d1be_4  app:t  parked       7",
        "    it wanted more than it may have, and that is how it is",
    ]
    assert lines(monkeypatch, 48, rows) == [
        "id                                  status",
        "0297c154bca8233de88dfb271ea4d1be_4  parked",
        "    app:t  it wanted more than it may have, and",
        "    that is how it is  7",
    ]


@pytest.mark.parametrize("width", [24, 40, 79, 80, 140])
def test_nothing_is_cut_off_and_only_an_id_may_be_too_wide(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    rows = [[LONG, "app:t", "parked", "a reason of some words", "7"], ["x" * 100, "app:t", "parked", "b", "7"]]
    shown = lines(monkeypatch, width, rows)
    for word in (LONG, "x" * 100, "app:t", "parked", "reason", "words", "7"):
        assert any(word in line for line in shown), word
    assert not [line for line in shown if cell_len(line) > width and "x" * 100 not in line and LONG not in line]


def lane(start: int, end: int | None, **more: str) -> Group:
    options = {"kind": "activity", "name": "app:charge", "outcome": "completed" if end else "open", **more}
    return Group(lanes=[Lane(seq=1, start_ms=start, end_ms=end, **options)], places=[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [60, 80, 140, 200])
@pytest.mark.parametrize("until", [0, 1, 7, 500, 90_000, 86_400_000, 86_400_000 * 400])
def test_lanes_fit_whatever_their_lengths(width: int, until: int) -> None:
    groups = [
        lane(0, until), lane(until, None, name="a" * 100), lane(until // 2, until, outcome="failed", error="no " * 100),
        lane(until, until, kind="signal", name="w", outcome="received"), lane(0, until // 3, outcome="cancelled"),
    ]  # fmt: skip
    shown = rendered(draw_lanes(groups, 0, until, width=width, gap=(2, 12)), width)
    assert not [line for line in shown if cell_len(line) > width]
    text = "\n".join(shown)
    for mark in ("█", "▶", "✗", "●", "╳", "… 12 more", "╷0"):
        assert mark in text, mark


@pytest.mark.parametrize("span", [1, 10, 999, 1_000, 59_000, 61_000, 3_599_999, 86_400_000, 86_400_000 * 1_000])
@pytest.mark.parametrize("most", [1, 3, 9])
def test_ticks_are_few_enough(span: int, most: int) -> None:
    assert span / tick_ms(span, most) <= most
