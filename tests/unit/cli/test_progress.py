"""Bars for long work: on a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from orchestration.cli.progress import WORTH_A_BAR, counted, progress_bar


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def work(total: int) -> None:
    with progress_bar(total, "pausing") as (advance, write):
        for number in range(total):
            write(f'{{"number": {number}, "text": "{"word " * 30}"}}')
            advance()


@pytest.mark.parametrize("total", [WORTH_A_BAR - 1, WORTH_A_BAR])
def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str], total: int) -> None:
    work(total)
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (total, "")


@pytest.mark.parametrize("is_piped", [True, False])
def test_on_a_terminal_lines_go_above_the_bar(monkeypatch: pytest.MonkeyPatch, is_piped: bool) -> None:
    """What goes into a pipe never meets the bar."""
    out, err = io.StringIO() if is_piped else Screen(), Screen()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    work(WORTH_A_BAR)
    assert "pausing" in err.getvalue()
    assert f"{WORTH_A_BAR}/{WORTH_A_BAR}" in err.getvalue()
    lines = (out if is_piped else err).getvalue()
    assert lines.count('"number"') == WORTH_A_BAR
    assert f'"text": "{"word " * 30}"' in lines, "data is not broken into lines"
    assert "pausing" not in out.getvalue()


def test_little_work_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    err = Screen()
    monkeypatch.setattr(sys, "stderr", err)
    assert list(counted(range(WORTH_A_BAR - 1), WORTH_A_BAR - 1, "auditing")) == list(range(WORTH_A_BAR - 1))
    assert err.getvalue() == ""
