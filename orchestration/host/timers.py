"""Timers of all processes of a node: one heap, one thread."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

__all__ = ["Timer", "Timers"]

logger = logging.getLogger(__name__)


class Timer:
    """One timer; :meth:`cancel` it, or it calls."""

    __slots__ = ("_call", "_timers")

    def __init__(self, timers: Timers, call: Callable[[], None]) -> None:
        self._timers = timers
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Never call; safe to repeat."""
        if self._call is not None:
            self._call = None
            self._timers.note_cancelled()

    def fire(self) -> None:
        """Call, unless it has been cancelled."""
        call, self._call = self._call, None
        if call is not None:
            call()

    @property
    def is_cancelled(self) -> bool:
        """It will not call any more."""
        return self._call is None


class Timers:
    """The heap. What a timer calls must be quick."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._has_thread = False
        self._closed = False
        self._cancelled = 0

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call in so many seconds, not before."""
        timer = Timer(self, call)
        due = time.monotonic() + max(delay_s, 0.0)
        with self._changed:
            is_first = not self._heap or due < self._heap[0][0]
            heapq.heappush(self._heap, (due, next(self._numbers), timer))
            if not self._has_thread:
                self._has_thread = True
                threading.Thread(target=self._run, name="orchestration-timers", daemon=True).start()
            elif is_first:
                self._changed.notify()
        return timer

    def note_cancelled(self) -> None:
        """One of the timers will not call; when most of them do not, the heap lets go of those."""
        self._cancelled += 1
        if self._cancelled < 1_000 or self._cancelled * 2 < len(self._heap):
            return
        with self._changed:
            self._heap = [item for item in self._heap if not item[2].is_cancelled]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def close(self) -> None:
        """Forget all."""
        with self._changed:
            self._closed = True
            self._heap.clear()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._heap and self._heap[0][2].is_cancelled:
                    heapq.heappop(self._heap)
                if self._closed:
                    return
                wait_s = self._heap[0][0] - time.monotonic() if self._heap else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(None if wait_s is None else min(wait_s, threading.TIMEOUT_MAX))
                    continue
                timer = heapq.heappop(self._heap)[2]
            try:
                timer.fire()
            except Exception:
                logger.exception("a timer failed")
