"""Few threads for many processes: each runs whoever has something to read, one step at a time.

A step of Lua cannot be interrupted, so a long one keeps its thread, and another thread takes over the rest. lupa frees
Python's lock while Lua code runs, so the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["RunQueue", "Runnable"]

logger = logging.getLogger(__name__)

_SHORT_S: Final = 0.0005
"""A step that has not taken longer keeps what it schedules: handing over to another thread costs as much as a step."""
_LOOK_S: Final = 0.005
_LONG_S: Final = 0.02
_MOST_THREADS: Final = 256


class Runnable(Protocol):
    """What the queue holds."""

    is_scheduled: bool
    queued_at: float

    def has_work(self) -> bool:
        """Whether there is something to do."""

    def run_step(self) -> None:
        """Do some of it; never raises."""


class RunQueue:
    """Threads that run cells.

    Args:
        threads: How many there are as long as no step takes long.
        name: Of the threads.
        is_held: Whether steps wait for something else than a thread at the moment.
    """

    def __init__(
        self, threads: int, *, name: str = "orchestration-run", is_held: Callable[[], bool] = lambda: False
    ) -> None:
        self._is_held = is_held
        self._wanted = threads
        self._name = name
        self._queue: deque[Runnable] = deque()
        self._changed = threading.Condition()
        self._pressed = threading.Condition(threading.Lock())
        self._mine = threading.local()
        self._idle = 0
        self._threads = 0
        self._is_watched = False
        self._closed = False

    def widen(self, threads: int) -> None:
        """Have at least so many threads."""
        self._wanted = max(self._wanted, threads)

    def schedule(self, cell: Runnable) -> None:
        """Run a cell soon, if it does not wait for its turn already."""
        with self._changed:
            if cell.is_scheduled or self._closed:
                return
            cell.is_scheduled = True
            cell.queued_at = now = time.monotonic()
            self._queue.append(cell)
            begun: float | None = getattr(self._mine, "begun", None)
            if begun is None or now - begun > _SHORT_S or len(self._queue) > 1:
                if self._idle:
                    self._wake()
                    return
                if self._threads < self._wanted:
                    self._start()
                    return
        if not self._is_watched:
            self._watch()

    def close(self) -> None:
        """Stop all threads after their present step."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
        with self._pressed:
            self._pressed.notify_all()

    def _wake(self) -> None:
        self._idle -= 1  # here, not when it wakes: until then others would count on it, too
        self._changed.notify()

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        cell: Runnable | None = None
        while True:
            with self._changed:
                if cell is not None:
                    cell.is_scheduled = False  # first: who pushes from now on schedules anew
                    if cell.has_work():
                        cell.is_scheduled = True
                        cell.queued_at = time.monotonic()
                        self._queue.append(cell)
                while not self._queue:
                    if self._closed or self._threads > self._wanted:
                        self._threads -= 1
                        return
                    self._idle += 1
                    self._changed.wait()
                cell = self._queue.popleft()
            self._mine.begun = time.monotonic()
            try:
                cell.run_step()
            except Exception:  # it is the runner's thread that must go on
                logger.exception("a step of a process failed")

    def _watch(self) -> None:
        with self._pressed:
            if not self._is_watched and not self._closed:
                self._is_watched = True
                threading.Thread(target=self._relieve, name=f"{self._name}-relief", daemon=True).start()
            self._pressed.notify()

    def _relieve(self) -> None:
        """Have another thread take what has waited for long; ends when there is nothing to wait for."""
        quiet = 0
        while not self._closed:
            time.sleep(_LOOK_S)
            with self._changed:
                if not self._queue:
                    quiet += 1
                    if quiet > 50:
                        self._is_watched = False
                        return
                    continue
                quiet = 0
                late_s = time.monotonic() - self._queue[0].queued_at
                if self._idle:
                    self._wake()
                elif late_s >= _LONG_S and self._threads < _MOST_THREADS and not self._is_held():
                    self._start()
