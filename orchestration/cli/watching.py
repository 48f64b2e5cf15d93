"""Files that are looked at for changes: those of the definitions, and the Python files of the project."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

__all__ = ["Changes"]

_LEFT_OUT: Final = frozenset(("__pycache__", "node_modules", "site-packages"))
_DEFINITIONS: Final = frozenset((".json", ".lua", ".py", ".yaml", ".yml"))
_CODE: Final = frozenset((".py",))
_MOST: Final = 20_000

_Facts = dict[Path, tuple[int, int]]


class Changes:
    """Notices files that are written, made or removed.

    They are looked at by time and size, now and then: a project has some hundred, so a look takes about a millisecond,
    and it works on every file system, mounted ones included. Hidden folders, virtual environments and what is
    installed are left out; so is what comes after the first 20,000 files.

    Args:
        trees: Folders or files of definitions.
        project: Folder whose Python files count too.
    """

    def __init__(self, trees: Sequence[str | Path], project: Path) -> None:
        self._trees = [Path(tree) for tree in trees]
        self._project = project
        self._seen = self._look()
        self._stirring: _Facts | None = None

    def settled(self) -> list[Path]:
        """Files that have changed since the last answer; none while they still change, as when many are saved."""
        now = self._look()
        if now == self._seen:
            self._stirring = None
            return []
        if now != self._stirring:
            self._stirring = now
            return []
        before, self._seen, self._stirring = self._seen, now, None
        return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))

    def _look(self) -> _Facts:
        paths = itertools.chain(
            *(_files(tree, _DEFINITIONS) for tree in self._trees), _files(self._project, _CODE)
        )  # fmt: skip
        found: _Facts = {}
        for path in itertools.islice(paths, _MOST):
            try:
                facts = path.stat()
            except OSError:  # gone since it was found
                continue
            found[path] = (facts.st_mtime_ns, facts.st_size)
        return found


def _files(tree: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    if tree.is_file():
        yield tree
        return
    for place, names, files in os.walk(tree):
        if "pyvenv.cfg" in files:
            names.clear()
            continue
        names[:] = sorted(name for name in names if name not in _LEFT_OUT and not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix in suffixes:
                yield Path(place, name)
