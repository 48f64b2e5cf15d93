"""The blocks of code on the pages, and which of them tests run.

A test module takes the blocks that it runs when it is imported, as ``Page("docs/quickstart.md").block("def greet")``.
``tests/unit/pages/test_blocks.py`` imports all such modules and fails where a block was taken by none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.support.workers import ROOT

__all__ = ["PAGES", "Block", "Page", "all_blocks", "commands", "taken"]

PAGES = tuple(str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))))
_FENCED = re.compile(r"^( *)```([\w+-]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)(?:    [^\n]*\n)+")
_BEFORE = re.compile(r"^`([\w./-]+\.\w+)`[^\n]*:\n\n\Z", re.MULTILINE)
_FIRST_LINE = re.compile(r"(?:#|--) ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: Path of the page in the repository.
        line: Where it begins.
        language: As written behind the fence; empty for one that is indented instead.
        name: Of its file, if the sentence before or its first line says one.
        text: Its code.
    """

    page: str
    line: int
    language: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


taken: set[Block] = set()
"""What the modules that were imported so far have taken."""


class Page:
    """A page, from which tests take what they run."""

    def __init__(self, path: str) -> None:
        assert path in PAGES, path
        self.path = path

    def block(self, words: str) -> str:
        """The one block with these words in it."""
        found = [block for block in all_blocks() if block.page == self.path and words in block.text]
        assert len(found) == 1, f"{self.path} has {len(found)} blocks with {words!r}"
        taken.add(found[0])
        return found[0].text

    def commands(self, words: str) -> list[list[str]]:
        """The words of each command in the one block with these words in it."""
        return list(commands(self.block(words)))

    def files(self) -> dict[str, str]:
        """Every block that is a file, or a part of one, by name."""
        found: dict[str, str] = {}
        for block in all_blocks():
            if block.page == self.path and block.name:
                taken.add(block)
                found[block.name] = "\n".join(filter(None, (found.get(block.name), block.text)))
        return found


@cache
def all_blocks() -> tuple[Block, ...]:
    """Every block of every page."""
    return tuple(block for page in PAGES for block in _blocks(page, (ROOT / page).read_text("utf-8")))


def _blocks(page: str, text: str) -> Iterator[Block]:
    def block(found: re.Match[str], language: str, code: str) -> Block:
        name = _BEFORE.search(text, max(0, found.start() - 200), found.start()) or _FIRST_LINE.match(code)
        return Block(page, text.count("\n", 0, found.start()) + 1, language, name[1] if name else "", code)

    for found in _FENCED.finditer(text):
        yield block(found, found[2] or "none", re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE))
    text = _FENCED.sub(lambda found: re.sub(r"[^\n]+", "x", found[0]), text)
    for found in _INDENTED.finditer(text):
        yield block(found, "", re.sub(r"^    ", "", found[0], flags=re.MULTILINE))


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a shell, without what comes after a pipe or goes into a file."""
    for line in re.sub(r"\\\n *", " ", text).splitlines():
        command = re.split(r"  #| \| | > |   +(?=[a-z])", line.removeprefix("$ "))[0]
        words = shlex.split(command, comments=True)
        if words:
            yield words
