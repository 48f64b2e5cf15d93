"""What is changed in the scripts: a guard that never holds, a write that is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

__all__ = ["Mutant", "all_mutants", "put_in", "scripts_with"]

_GUARD: Final = re.compile(r"^(\s*)if (.+) then (return\b.*|goto \w+) end$")
_WRITE: Final = re.compile(
    r"^(\s*)redis\.call\('(?:SET|DEL|EXPIRE|PEXPIRE|PERSIST|HSET|HDEL|HINCRBY|ZADD|ZREM|SADD|SREM|RPUSH|LPUSH|LTRIM|LPOP"
    r"|LREM|LSET|PUBLISH|XADD|XDEL|XACK|ZREMRANGEBYSCORE)'.*\)$"
)
_INCLUDE: Final = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one line.

    Attributes:
        file: Path below ``redis_lua``, with slashes.
        line: Number of the line, from 1.
        before: The line without the spaces around it.
        after: What stands there instead.
    """

    file: str
    line: int
    before: str
    after: str

    @property
    def key(self) -> str:
        """What it is known by when lines above it have come or gone."""
        return f"{self.file}: {self.before}"

    def text(self, source: str) -> str:
        """The file with the change."""
        lines = source.split("\n")
        assert lines[self.line - 1].strip() == self.before
        lines[self.line - 1] = self.after
        return "\n".join(lines)


def _folder() -> Any:
    return resources.files("orchestration.store") / "redis_lua"


def _files() -> Iterator[tuple[str, str]]:
    for folder, prefix in ((_folder(), ""), (_folder() / "include", "include/")):
        for path in sorted(folder.iterdir(), key=lambda path: path.name):
            if path.name.endswith(".lua"):
                yield f"{prefix}{path.name}", path.read_text("utf-8")


def all_mutants() -> list[Mutant]:
    """All of them, by file and line."""
    found = []
    for file, source in _files():
        for number, line in enumerate(source.split("\n"), 1):
            code = line.partition(" -- ")[0].rstrip()
            guard = _GUARD.match(code)
            if guard:
                found.append(Mutant(file, number, line.strip(), f"{guard[1]}if false then {guard[3]} end"))
            elif _WRITE.match(code):
                found.append(Mutant(file, number, line.strip(), ""))
    return found


def scripts_with(file: str) -> set[str]:
    """Names of the scripts that a file is part of."""
    name = file.rpartition("/")[2].removesuffix(".lua")
    if "/" not in file:
        return {name}
    scripts = [(path.removesuffix(".lua"), source) for path, source in _files() if "/" not in path]
    return {script for script, source in scripts if name in _INCLUDE.findall(source)}


class _Changed:
    """Stands in for :mod:`importlib.resources` where the scripts are read."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def files(self, package: str) -> Any:
        del package
        return _Place(_folder().parent, "", self._mutant)


class _Place:
    def __init__(self, path: Any, name: str, mutant: Mutant) -> None:
        self._path, self._name, self._mutant = path, name, mutant

    def __truediv__(self, part: str) -> _Place:
        return _Place(self._path / part, f"{self._name}/{part}", self._mutant)

    def iterdir(self) -> Any:
        return self._path.iterdir()

    def read_text(self, encoding: str) -> str:
        text: str = self._path.read_text(encoding)
        return self._mutant.text(text) if self._name == f"/redis_lua/{self._mutant.file}" else text


def put_in(mutant: Mutant) -> None:
    """Have this process read the scripts with the change from now on."""
    from orchestration.store import scripts

    scripts.resources = _Changed(mutant)  # type: ignore[attr-defined]
    scripts.load_script.cache_clear()
