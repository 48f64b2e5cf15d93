"""Removes what has ended from key-value stores that nobody writes to; writers do it as they go."""

from __future__ import annotations

from typing import Final

from orchestration.registry.kinds.stores import StoreBackend, StoreMemory
from orchestration.store.store import Store
from orchestration.tasks.runtime import Runtime

__all__ = ["StoreTidier"]

_AT_ONCE: Final = 1_000


class StoreTidier:
    """Part of the sweep.

    Args:
        runtime: Of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._due: dict[str, float] = {}

    def tidy(self, namespace: str, store: Store) -> None:
        """Look after each store of the definitions once in its ``cleanup_interval``; at most 1,000 keys of each."""
        if namespace != self._runtime.settings.namespace:
            return
        now = self._runtime.monotonic()
        for entry in self._runtime.registry.of(StoreMemory):
            if entry.backend is not StoreBackend.REDIS or not entry.cleanup_interval:
                continue
            pause_s = entry.cleanup_interval / 1000
            if self._due.setdefault(entry.id, now + pause_s) <= now:
                has_more = store.items.tidy(entry.id, limit=_AT_ONCE)
                self._due[entry.id] = now if has_more else now + pause_s
