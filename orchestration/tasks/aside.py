"""What the sweep has done beside it: the end of a run calls code of the application, which may take its time.

Celery calls an errback that takes ``(request, exc, traceback)`` in the process that marks the task as failed. One that
hangs, in the thread of the sweep, would hold up every timer and every repair of the deployment.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable
from typing import Final, Protocol

from orchestration.errors import StoreUnavailableError
from orchestration.store.store import Store

__all__ = ["Aside", "Performs"]

logger = logging.getLogger(__name__)

_THREADS: Final = 4
_MOST_WAITING: Final = 1_000
_SLOW: Final = ("c/", "x/")
"""Beginnings of the ids of entries that may end a run: those that tell of its end, and those that terminate others."""


class Performs(Protocol):
    """Performs outbox entries: :class:`orchestration.tasks.outbox.Outbox`, or :class:`Aside`."""

    def perform(self, store: Store, entries: Iterable[tuple[str, bytes]]) -> None:
        """Perform them, or see to it that somebody does."""


class Aside:
    """Performs the outbox entries of a sweep: at once what is quick, in threads of its own what may not be.

    Args:
        outbox: Performs an entry.
    """

    def __init__(self, outbox: Performs) -> None:
        self._outbox = outbox
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[Store, str, bytes]] = queue.SimpleQueue()
        self._taken: set[str] = set()
        self._threads = 0

    def perform(self, store: Store, entries: Iterable[tuple[str, bytes]]) -> None:
        """Perform entries; one that is at work since an earlier sweep, or finds no room, is left to a later one."""
        quick = []
        for name, entry in entries:
            if name.startswith(_SLOW):
                self._hand(store, name, entry)
            else:
                quick.append((name, entry))
        if quick:
            self._outbox.perform(store, quick)

    def _hand(self, store: Store, name: str, entry: bytes) -> None:
        with self._lock:
            if name in self._taken or len(self._taken) >= _MOST_WAITING:
                return
            self._taken.add(name)
            self._waiting.put((store, name, entry))
            if len(self._taken) <= self._threads or self._threads >= _THREADS:
                return
            self._threads += 1
            number = self._threads
        threading.Thread(target=self._loop, name=f"orchestration-aside-{number}", daemon=True).start()

    def _loop(self) -> None:
        while True:
            store, name, entry = self._waiting.get()
            try:
                self._outbox.perform(store, [(name, entry)])
            except StoreUnavailableError as error:
                logger.warning("outbox entry put off: %s", error, extra={"entry": name})
            except Exception:
                logger.exception("outbox entry left to the sweep", extra={"entry": name})
            finally:
                with self._lock:
                    self._taken.discard(name)
