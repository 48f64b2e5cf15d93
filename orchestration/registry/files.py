"""Trees of definition files, and the files that their ``file://`` values name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestration.registry.yaml_nodes import LARGEST_FILE_BYTES

__all__ = ["FileText", "FileValueError", "Tree", "is_file_value"]

_SCHEME = "file://"
_SUFFIXES = (".yaml", ".yml")


class FileValueError(Exception):
    """A ``file://`` value cannot be read.

    Args:
        what: What is wrong.
        cure: What to do about it.
    """

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what, cure)
        self.what = what
        self.cure = cure


@dataclass(frozen=True, slots=True, kw_only=True)
class FileText:
    """A text read from a file.

    Attributes:
        text: All of it.
        name: Path inside the tree, with slashes.
        shown: Path as reached from the path given to the loader.
    """

    text: str
    name: str
    shown: str


def is_file_value(value: object) -> bool:
    """Whether a value stands for the text of a file."""
    return isinstance(value, str) and value.startswith(_SCHEME)


class Tree:
    """One tree of definition files: a folder, or a single file with its folder as root."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.is_single = self.path.is_file()
        self.root = self.path.parent if self.is_single else self.path
        self._real_root = self.root.resolve()
        self._texts: dict[Path, FileText] = {}

    def exists(self) -> bool:
        """Whether there is anything at the path."""
        return self.path.exists()

    def definition_files(self) -> Iterator[Path]:
        """YAML files of the tree in a fixed order; hidden folders and files are not looked at."""
        if self.is_single:
            yield self.path
            return
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if name.endswith(_SUFFIXES) and not name.startswith("."):
                    yield Path(folder, name)

    def read_bytes(self, path: Path) -> bytes:
        """Bytes of a file of the tree, at most one more than a definition file may have.

        Raises:
            FileValueError: It leads out of the tree or cannot be read.
        """
        if not path.resolve().is_relative_to(self._real_root):
            what = "the file is a link that leads out of its tree"
            raise FileValueError(what, "keep the file itself inside the tree")
        try:
            with path.open("rb") as stream:
                return stream.read(LARGEST_FILE_BYTES + 1)
        except OSError as error:
            raise FileValueError(f"the file cannot be read: {error.strerror}", "correct its rights") from error

    def read_value(self, value: str, *, folder: Path) -> FileText:
        """The file that a ``file://`` value names.

        Args:
            value: ``file://a/b.lua`` is relative to the folder, ``file:///a/b.lua`` to the root of the tree.
            folder: Folder of the YAML file that holds the value.

        Raises:
            FileValueError: The path is empty, leaves the tree, is missing, too large, or no UTF-8 text.
        """
        written = value.removeprefix(_SCHEME)
        relative = written.lstrip("/")
        if not relative.strip() or "\0" in relative:
            raise FileValueError("names no file", "write the path of a file after 'file://'")
        path = Path(os.path.normpath((self.root if written.startswith("/") else folder) / relative))
        inside = "a file:// value may only name files of its own tree"
        if not _is_within(path, self.root):
            raise FileValueError(f"leaves the tree {self.root}", inside)
        real = path.resolve()
        if not real.is_relative_to(self._real_root):
            raise FileValueError(f"is a link that leads out of the tree {self.root}", inside)
        if real not in self._texts:
            self._texts[real] = self._read_text(path)
        return self._texts[real]

    def _read_text(self, path: Path) -> FileText:
        if not path.exists():
            raise FileValueError(f"there is no file {path}", "create the file or correct the path")
        if not path.is_file():
            raise FileValueError(f"{path} is no file", "name a file")
        data = self.read_bytes(path)
        if len(data) > LARGEST_FILE_BYTES:
            raise FileValueError(f"{path} has more than {LARGEST_FILE_BYTES} bytes", "split it, or import parts of it")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise FileValueError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
        name = Path(os.path.relpath(path, self.root)).as_posix()
        return FileText(text=text, name=name, shown=str(path))


def _is_within(path: Path, root: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))
