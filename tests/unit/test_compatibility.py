"""The page on compatibility names tests that exist, and leaves no promise without one or a reason."""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
SECTIONS = {"Workflows": range(1, 16), "Functions": range(1, 11), "Processes": range(1, 13), "Modules": range(1, 25)}
_LINK = re.compile(r"\[(test_\w+)\]\[(\w+)\]")


@dataclass(frozen=True)
class Row:
    """One promise."""

    part: str
    section: int
    promise: str
    tests: tuple[tuple[str, str], ...]
    test_cell: str
    difference: str


def read_page() -> tuple[list[Row], dict[str, str]]:
    """Rows of the page, and the files its links are short for."""
    rows: list[Row] = []
    part, section = "", 0
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("# "):
            part = line[2:]
        elif line.startswith("## "):
            section = int(line[3:].split(".")[0])
        elif line.startswith("| ") and not line.startswith(("| ---", "| promise")):
            promise, tests, difference = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            rows.append(Row(part, section, promise, tuple(_LINK.findall(tests)), tests, difference))
    files = dict(re.findall(r"^\[(\w+)\]: (\S+)$", PAGE.read_text("utf-8"), re.MULTILINE))
    return rows, files


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    """Names of the test functions of a module, in classes too."""
    return frozenset(
        node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)
    )


def test_every_section_of_the_specification_has_rows() -> None:
    rows, _ = read_page()
    found = {part: sorted({row.section for row in rows if row.part == part}) for part in SECTIONS}
    assert found == {part: list(numbers) for part, numbers in SECTIONS.items()}


def test_every_test_that_is_named_exists() -> None:
    rows, files = read_page()
    missing = [
        f"{files.get(key, key)}::{name} ({row.promise})"
        for row in rows
        for name, key in row.tests
        if key not in files or name not in names_in((PAGE.parent / files[key]).resolve())
    ]
    assert not missing, "\n".join(missing)


def test_no_promise_is_without_a_test_unless_it_is_not_supported_for_a_reason() -> None:
    for row in read_page()[0]:
        if row.test_cell == "not supported":
            assert len(row.difference) > len("Later."), row
        else:
            assert row.tests, row
            assert _LINK.sub("", row.test_cell).replace("<br>", "") == "", row


def test_a_difference_is_said_with_its_reason() -> None:
    for row in read_page()[0]:
        if row.difference.startswith("Differs"):
            assert len(row.difference.removeprefix("Differs:")) > 20, row


def test_every_short_name_of_a_file_is_used() -> None:
    rows, files = read_page()
    assert {key for row in rows for _, key in row.tests} == set(files)


def test_every_link_of_the_documentation_to_a_file_leads_somewhere() -> None:
    for page in PAGE.parent.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
