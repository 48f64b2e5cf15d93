"""Where the archive puts its files, and that a file is there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.errors import ConfigError
from orchestration.tasks.archive import archive_path, open_target

ENDED_MS = 1_714_521_600_000 - 1


def test_a_path_has_namespace_day_workflow_and_run() -> None:
    assert archive_path("shop", "order-1", "00ab", ENDED_MS) == "shop/2024-04-30/order-1/00ab.jsonl"
    assert archive_path("shop", "a/b c:%é", "r", ENDED_MS) == "shop/2024-04-30/a%2Fb%20c%3A%25%C3%A9/r.jsonl"


@pytest.mark.parametrize("workflow_id", [".", "..", "../../etc", "/etc", "a" * 255, "ü" * 127])
def test_no_workflow_id_leads_elsewhere_or_is_too_long_for_a_file_system(workflow_id: str) -> None:
    _, _, name, _ = archive_path("n", workflow_id, "r", ENDED_MS).split("/")
    assert name not in (".", "..")
    assert len(name) <= 200
    assert archive_path("n", workflow_id + "x", "r", ENDED_MS) != archive_path("n", workflow_id, "r", ENDED_MS)


def _failing() -> Iterator[bytes]:
    yield b"one\n"
    raise RuntimeError("the store went away")


@pytest.mark.parametrize("kind", ["folder", "file", "fsspec"])
def test_a_file_is_replaced_whole_or_left_alone(kind: str, tmp_path: Path) -> None:
    where = {"folder": str(tmp_path), "file": f"file://{tmp_path}", "fsspec": f"local://{tmp_path}"}[kind]
    target = open_target(where)
    file = tmp_path / "n" / "d" / "w" / "r.jsonl"
    for _ in range(2):
        target.write("n/d/w/r.jsonl", [b"one\n", b"two\n"])
        assert file.read_bytes() == b"one\ntwo\n"
    with pytest.raises(RuntimeError):
        target.write("n/d/w/r.jsonl", _failing())
    assert file.read_bytes() == b"one\ntwo\n"
    assert list(file.parent.iterdir()) == [file]


def test_a_file_system_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"orchestration_archive = 'nosuch://x'"):
        open_target("nosuch://x")
