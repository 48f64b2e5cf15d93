"""Bare sandboxes for tests: a chunk goes in, what it returned comes out."""

from __future__ import annotations

from typing import Any

from orchestration.core.lua.runtime import LuaWorld
from orchestration.types import Limits

__all__ = ["SMALL", "World", "run"]

SMALL = Limits(memory_bytes=16 * 1024 * 1024, instructions=20_000_000)


class World:
    """One sandbox with one environment."""

    def __init__(self, limits: Limits = SMALL) -> None:
        self.lua = LuaWorld(limits)
        self.env = self.lua.call(self.lua.rt[b"new_env"])[0]

    def run(self, source: str, *args: Any, name: str = "test.lua") -> tuple[Any, ...]:
        """Run a chunk; byte strings are decoded."""
        self.lua.reset_budget()
        results = self.lua.call(self.lua.load_user(source, name, self.env), *args)
        return tuple(
            value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in results
        )


def run(source: str, *args: Any, limits: Limits = SMALL) -> Any:
    """What a chunk returns in a world of its own: the value, or a tuple of values."""
    results = World(limits).run(source, *args)
    return results[0] if len(results) == 1 else results
