"""Files of variables: ``KEY=VALUE`` lines; ``#`` begins a comment."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestration.registry.yaml_nodes import LARGEST_FILE_BYTES
from orchestration.whole_files import write_whole

__all__ = ["read_env_file", "write_env_file"]


def read_env_file(path: Path) -> Mapping[str, str]:
    """The variables of a file; one that is not there, or cannot be read, has none, as before its first write."""
    try:
        with path.open("rb") as stream:
            text = stream.read(LARGEST_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return {}
    pairs = (_pair(line) for line in text.splitlines())
    return dict(pair for pair in pairs if pair is not None)


def _pair(line: str) -> tuple[str, str] | None:
    line = line.strip()
    key, equals, value = line.partition("=")
    return None if not equals or line.startswith("#") else (key.strip(), value.strip())


def write_env_file(path: Path, key: str, value: str, *, create: bool, file_mode: int, dir_mode: int) -> None:
    """Set one variable; every other line stays as it is, and whoever reads sees the file before or after it.

    Of processes that write at once each one's variable is kept: they take turns, with a lock on the folder.

    Args:
        path: The file; of a link, the file behind it.
        key: Name of the variable.
        value: Its value: one line, without spaces at its ends.
        create: Make the file, and the folders above it, if it is not there.
        file_mode: Permissions of a file that is made.
        dir_mode: Permissions of folders that are made.

    Raises:
        ValueError: A file would not give the value back: it has several lines, or spaces at its ends.
        FileNotFoundError: There is no such file, and it is not to be made.
        OSError: It cannot be read or written, or is larger than what is read of it.
    """
    if value != value.strip() or len(value.splitlines()) > 1:
        raise ValueError("a value in a file is one line, without spaces at its ends")
    path = Path(os.path.realpath(path))
    if create:
        _make_folders(path.parent, dir_mode)
    with _turn(path.parent):
        try:
            text, mode = _whole(path), path.stat().st_mode & 0o7777
        except FileNotFoundError:
            if not create:
                raise
            text, mode = "", file_mode
        data = _changed(text, key, value).encode("utf-8", "surrogateescape")
        _bounded(len(data))
        write_whole(path, [data], mode=mode)


def _whole(path: Path) -> str:
    data = path.read_bytes()
    _bounded(len(data))
    return data.decode("utf-8", "surrogateescape")


def _bounded(size_bytes: int) -> None:
    if size_bytes > LARGEST_FILE_BYTES:
        raise OSError(f"it has {size_bytes} bytes, more than the {LARGEST_FILE_BYTES} that are read of it")


def _changed(text: str, key: str, value: str) -> str:
    """The text with a line for the variable: where its last one was, since that one counts, else at the end."""
    lines = text.splitlines(keepends=True)
    places = [place for place, line in enumerate(lines) if (pair := _pair(line)) is not None and pair[0] == key]
    if places:
        old = lines[places[-1]]
        lines[places[-1]] = f"{key}={value}" + old[len(old.rstrip("\r\n")) :]
        return "".join(lines)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += "\n"
    return "".join([*lines, f"{key}={value}\n"])


def _make_folders(folder: Path, mode: int) -> None:
    if folder.is_dir():
        return
    _make_folders(folder.parent, mode)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(mode)


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
