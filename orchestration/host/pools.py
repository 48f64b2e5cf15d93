"""How many calls of a function run at once on a node, as the entry's ``pool`` says; the others wait for their turn."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from orchestration.registry.kinds.lua import FunctionLua

__all__ = ["Pools"]

logger = logging.getLogger(__name__)


class _Pool:
    __slots__ = ("due", "is_starting", "running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[Callable[[], None]] = deque()
        self.due: deque[Callable[[], None]] = deque()
        self.is_starting = False


class Pools:
    """The pools of one node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, _Pool] = {}

    def enter(self, entry: FunctionLua, held: frozenset[str], start: Callable[[bool], None]) -> None:
        """Start a call when there is a place for it.

        Args:
            entry: The function.
            held: Functions whose places the callers hold that wait for this call. A call of one of these takes no
                place of its own: it would wait for its own caller.
            start: Starts it, here or later in the thread of the call that leaves; told whether it holds a place, for
                which :meth:`leave` has to be called.
        """
        limit = entry.pool.limit
        if limit is None or entry.id in held:
            start(False)
            return
        with self._lock:
            pool = self._pools.setdefault(entry.id, _Pool())
            if pool.running >= limit:
                pool.waiting.append(lambda: start(True))
                return
            pool.running += 1
        start(True)

    def leave(self, entry: FunctionLua) -> None:
        """A call has ended: the next one starts."""
        with self._lock:
            pool = self._pools[entry.id]
            if not pool.waiting:
                pool.running -= 1
                return
            pool.due.append(pool.waiting.popleft())
            if pool.is_starting:  # maybe further out in this thread: one that starts may leave at once, and so the next
                return
            pool.is_starting = True
        while True:
            with self._lock:
                if not pool.due:
                    pool.is_starting = False
                    return
                following = pool.due.popleft()
            try:
                following()
            except Exception:
                logger.exception("a call of %s could not be started", entry.id)
