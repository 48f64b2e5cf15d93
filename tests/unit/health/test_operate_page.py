"""The page for operators has every check, every kind of fault and every command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestration.health.doctor import CHECKS, check_names
from orchestration.health.findings import PAGE, Severity
from orchestration.health.judging import Mender

PAGE_TEXT = (Path(__file__).parents[3] / PAGE).read_text("utf-8")


def test_the_page_describes_every_check_and_no_other() -> None:
    assert re.findall(r"^#### (\S+)$", PAGE_TEXT, re.MULTILINE) == list(check_names())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_says_what_it_looks_at_and_its_section_names_a_severity(check: object) -> None:
    name = check.name  # type: ignore[attr-defined]
    section = re.search(rf"^#### {name}\n(.*?)(?=^##)", PAGE_TEXT, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert re.search(r"\*(notice|warning|error)\*", section[1])
    assert check.looks_at  # type: ignore[attr-defined]
    assert check.anchor == f"{PAGE}#{name}"  # type: ignore[attr-defined]


def test_the_page_has_every_severity_and_every_mender() -> None:
    for word in (*Severity, *Mender):
        assert f"| `{word.value}` |" in PAGE_TEXT
