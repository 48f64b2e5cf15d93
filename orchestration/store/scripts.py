"""Loads the Redis scripts: one atomic step, one file in ``redis_lua/``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["Script", "load_script", "script_names"]

_INCLUDE = re.compile(r"^-- @include (\w+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One server script.

    Attributes:
        name: Its file's name, without ``.lua``.
        source: Its text, with what it includes.
        sha: SHA-1 of the source, by which Redis knows it.
    """

    name: str
    source: str
    sha: str


@cache
def load_script(name: str) -> Script:
    """Read a script and what it includes, once per process.

    Raises:
        FileNotFoundError: No script has this name.
    """
    folder = resources.files(__package__) / "redis_lua"
    text = (folder / f"{name}.lua").read_text("utf-8")

    def include(match: re.Match[str]) -> str:
        return (folder / "include" / f"{match[1]}.lua").read_text("utf-8")

    source = _INCLUDE.sub(include, text)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def script_names() -> tuple[str, ...]:
    """Names of all scripts, sorted."""
    folder = resources.files(__package__) / "redis_lua"
    return tuple(sorted(path.name[:-4] for path in folder.iterdir() if path.name.endswith(".lua")))
