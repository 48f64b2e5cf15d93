"""Files of variables are read as they are, and rewritten with one line changed."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestration.registry import env_files
from orchestration.registry.env_files import read_env_file, write_env_file


def write(path: Path, key: str, value: str, **options: Any) -> None:
    write_env_file(path, key, value, **{"create": False, "file_mode": 0o644, "dir_mode": 0o755, **options})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_lines_comments_and_spaces(tmp_path: Path) -> None:
    path = tmp_path / "app.env"
    path.write_bytes(b"# A=0\n A = 1 \n\nB==x#y\nno line\nC=\nA=2\r\n\xff=1\n")
    assert read_env_file(path) == {"A": "2", "B": "=x#y", "C": "", "�": "1"}
    assert read_env_file(tmp_path / "none.env") == {}
    assert read_env_file(tmp_path) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "KEY=new\n"),
        ("# about\n\nOTHER = kept  \n# KEY=comment\n", "# about\n\nOTHER = kept  \n# KEY=comment\nKEY=new\n"),
        ("A=1\nKEY = old\nB=2", "A=1\nKEY=new\nB=2"),
        ("KEY=1\nKEY=2\n", "KEY=1\nKEY=new\n"),
        ("A=1\r\nKEY=2\r\n", "A=1\r\nKEY=new\r\n"),
        ("A=1", "A=1\nKEY=new\n"),
        ("KEYS=1\n", "KEYS=1\nKEY=new\n"),
    ],
)
def test_a_write_changes_one_line(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "app.env"
    path.write_bytes(before.encode())
    write(path, "KEY", "new")
    assert path.read_bytes().decode() == after
    assert read_env_file(path)["KEY"] == "new"


def test_bytes_that_are_no_text_stay(tmp_path: Path) -> None:
    path = tmp_path / "app.env"
    path.write_bytes(b"A=\xff\xfe\n")
    write(path, "B", "ü")
    assert path.read_bytes() == b"A=\xff\xfe\nB=\xc3\xbc\n"


@pytest.mark.parametrize("value", ["a\nb", "a\rb", " a", "a ", "a\n", "a\u2028b"])
def test_a_value_that_would_not_come_back_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "app.env"
    path.write_text("A=1\n")
    with pytest.raises(ValueError, match="one line"):
        write(path, "A", value)
    assert path.read_text() == "A=1\n"


def test_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "app.env"
    path.write_text("")
    path.chmod(0o600)
    write(path, "A", "1", file_mode=0o644)
    assert mode(path) == 0o600


def test_a_missing_file_is_made_with_its_folders_if_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "app.env"
    with pytest.raises(FileNotFoundError):
        write(path, "A", "1")
    assert not (tmp_path / "a").exists()
    before = os.umask(0o077)
    try:
        write(path, "A", "1", create=True, file_mode=0o640, dir_mode=0o750)
    finally:
        os.umask(before)
    assert (mode(path), mode(path.parent), mode(path.parent.parent)) == (0o640, 0o750, 0o750)
    assert read_env_file(path) == {"A": "1"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.env").write_text("A=1\n")
    (tmp_path / "app.env").symlink_to("real.env")
    write(tmp_path / "app.env", "A", "2")
    assert (tmp_path / "app.env").is_symlink()
    assert (tmp_path / "real.env").read_text() == "A=2\n"


def test_a_failed_write_leaves_the_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "app.env"
    path.write_text("A=1\n")

    def fail(_descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(env_files.os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write(path, "A", "2")
    assert [found.name for found in tmp_path.iterdir()] == ["app.env"]
    assert path.read_text() == "A=1\n"


def test_a_file_that_is_not_read_whole_is_not_rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "app.env"
    path.write_text("A=1\nB=2\n")
    monkeypatch.setattr(env_files, "LARGEST_FILE_BYTES", 5)
    with pytest.raises(OSError, match="it has 8 bytes, more than the 5"):
        write(path, "A", "2")


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "app.env"

    def write_some(name: str) -> None:
        for number in range(10):
            write(path, f"{name}{number}", "1", create=True)

    threads = [threading.Thread(target=write_some, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_env_file(path)) == 40


def test_a_file_does_not_grow_beyond_what_is_read_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written all the same, and its last variables were gone from then on, without a word."""
    path = tmp_path / "e"
    path.write_text("A=1\n")
    monkeypatch.setattr(env_files, "LARGEST_FILE_BYTES", 10)
    write(path, "B", "123")
    with pytest.raises(OSError, match="it has 11 bytes, more than the 10"):
        write(path, "B", "1234")
    assert path.read_text() == "A=1\nB=123\n"
    assert [file.name for file in tmp_path.iterdir()] == ["e"]
