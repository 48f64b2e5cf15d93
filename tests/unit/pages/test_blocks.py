"""Every block of code on the pages is run by a test, which takes it from there, or is in a short list with a reason."""

from __future__ import annotations

import importlib
import re
import tomllib

import pytest

from tests.support.pages import Block, all_blocks, commands, taken
from tests.support.workers import ROOT

for _path in sorted((ROOT / "tests").rglob("test_*.py")):
    if "from tests.support.pages import Page" in _path.read_text("utf-8"):
        importlib.import_module(".".join(_path.relative_to(ROOT).with_suffix("").parts))

TAKEN = frozenset(taken)
"""By the modules of the tests as they are imported; what a test takes while it runs comes too late."""

EXCEPTIONS = {
    ("README.md", "make test        #"): "it would be this test; that its targets exist is tested here",
    ("docs/quickstart.md", "python3 -m venv"): "it installs; that the extra exists is tested here",
    ("docs/how-to/observe.md", "pip install 'celery-orchestration[otel]'"): "it installs; likewise",
    ("docs/how-to/deploy-new-code.md", "error: 3 of 412"): "output",
    ("docs/how-to/large-payloads.md", "history: event 7"): "output",
    ("docs/how-to/size-redis.md", "memory = open runs"): "a formula",
}
"""Blocks that no test runs, by page and beginning."""


def _exception(block: Block) -> tuple[str, str] | None:
    return next((key for key in EXCEPTIONS if key[0] == block.page and block.text.startswith(key[1])), None)


def test_every_block_is_run_by_a_test() -> None:
    left = [block for block in all_blocks() if block not in TAKEN and not _exception(block)]
    assert not left, "no test takes these (tests.support.pages):\n" + "\n".join(f"{one}\n{one.text}" for one in left)


def test_the_exceptions_are_needed() -> None:
    assert {_exception(block) for block in all_blocks() if block not in TAKEN} - {None} == set(EXCEPTIONS)


def test_make_and_extras_that_pages_name_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    targets = (ROOT / "Makefile").read_text("utf-8")
    for block in all_blocks():
        if block.language in ("", "sh", "bash"):
            for named in re.findall(r"celery-orchestration\[([\w,]+)\]", block.text):
                assert set(named.split(",")) <= set(extras), block
            for target in re.findall(r"^make ([\w-]+)", block.text, re.MULTILINE):
                assert f"\n{target}:" in targets, block


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("celery -A app worker -n 'a b'   # as ever\n", [["celery", "-A", "app", "worker", "-n", "a b"]]),
        ("one \\\n  two > file\nthree | four\n", [["one", "two"], ["three"]]),
        ("audit order-7       what moves it\n", [["audit", "order-7"]]),
    ],
)
def test_the_words_of_commands(text: str, words: list[list[str]]) -> None:
    assert list(commands(text)) == words
