"""docs/reference/errors.md has every public error, with a cause and a cure."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from orchestration import errors

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "errors.md"
_ROW = re.compile(r"^\| `([\w.]*(?:Error|Cancelled))` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def test_page_and_errors_are_the_same() -> None:
    rows = _ROW.findall(PAGE.read_text("utf-8"))
    ours = [name for name, _, _ in rows if "." not in name and name != "TimeoutError"]
    assert sorted(ours) == sorted(errors.__all__)
    assert all(cause.strip() and cure.strip() for _, cause, cure in rows)


def test_those_that_are_elsewhere_are_there() -> None:
    for name, _, _ in _ROW.findall(PAGE.read_text("utf-8")):
        if "." in name:
            module, _, attribute = name.rpartition(".")
            assert issubclass(getattr(importlib.import_module(module), attribute), errors.OrchestrationError)
