"""What the sweep has done beside it: what calls code of the application, and what asks servers that may not answer.

Celery calls an errback that takes ``(request, exc, traceback)`` in the process that marks the task as failed; and a
result backend that hangs answers after two minutes, or never. In the thread of the sweep each would hold up every timer
and every repair of the deployment.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

from orchestration.errors import StoreUnavailableError
from orchestration.store.store import Store

__all__ = ["Aside", "AtOnce", "Performs"]

logger = logging.getLogger(__name__)

_THREADS: Final = 4
_MOST_WAITING: Final = 1_000
_SLOW: Final = ("c/", "x/")
"""Beginnings of the ids of entries that may end a run: those that tell of its end, and those that terminate others."""


class Performs(Protocol):
    """Performs outbox entries: :class:`orchestration.tasks.outbox.Outbox`, or :class:`Aside`."""

    def perform(self, store: Store, entries: Iterable[tuple[str, bytes]]) -> None:
        """Perform them, or see to it that somebody does."""


class AtOnce:
    """Does everything in the thread of the sweep.

    Args:
        outbox: Performs an entry.
    """

    def __init__(self, outbox: Performs) -> None:
        self.perform = outbox.perform

    def look(self, name: str, act: Callable[[], object]) -> None:
        """Look after something that has a name."""
        del name
        act()


class Aside:
    """Does at once what is quick, and in threads of its own what may not be.

    Args:
        outbox: Performs an entry.
    """

    def __init__(self, outbox: Performs) -> None:
        self._outbox = outbox
        self._ends = _Threads("ends", _THREADS)
        self._looks = _Threads("looks", 1)

    def perform(self, store: Store, entries: Iterable[tuple[str, bytes]]) -> None:
        """Perform entries; one that is at work since an earlier sweep, or finds no room, is left to a later one."""
        quick = []
        for name, entry in entries:
            if name.startswith(_SLOW):
                self._ends.do(name, partial(self._outbox.perform, store, [(name, entry)]))
            else:
                quick.append((name, entry))
        if quick:
            self._outbox.perform(store, quick)

    def look(self, name: str, act: Callable[[], object]) -> None:
        """Look after something that has a name, one thing at a time; what is still being looked after is left alone."""
        self._looks.do(name, act)


class _Threads:
    """A few threads, started as they are needed, that end with the process."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[str, Callable[[], object]]] = queue.SimpleQueue()
        self._taken: set[str] = set()
        self._count = 0

    def do(self, name: str, act: Callable[[], object]) -> None:
        with self._lock:
            if name in self._taken or len(self._taken) >= _MOST_WAITING:
                return
            self._taken.add(name)
            self._waiting.put((name, act))
            if len(self._taken) <= self._count or self._count >= self._most:
                return
            self._count += 1
            thread = f"orchestration-{self._name}-{self._count}"
        threading.Thread(target=self._loop, name=thread, daemon=True).start()

    def _loop(self) -> None:
        while True:
            name, act = self._waiting.get()
            try:
                act()
            except StoreUnavailableError as error:
                logger.warning("put off: %s", error, extra={"what": name})
            except BaseException:  # an errback that exits ends nothing but itself
                logger.exception("left to a later sweep", extra={"what": name})
            finally:
                with self._lock:
                    self._taken.discard(name)
