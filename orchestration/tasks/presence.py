"""Says that this process lives while it holds claims, and ends it when one call into Lua does not come back."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestration.errors import StoreError
from orchestration.tasks.runtime import Runtime

__all__ = ["Presence"]

logger = logging.getLogger(__name__)


class Presence:
    """Heartbeats of one process, only while there is something to be missed.

    Args:
        runtime: Of this process.
        expendable: The process may be ended when it is stuck: a prefork child, which its parent replaces.
    """

    def __init__(self, runtime: Runtime, *, expendable: bool) -> None:
        self._runtime = runtime
        self._expendable = expendable
        self._held: dict[str, int] = {}
        self._beaten: dict[str, float] = {}
        self._lua_since: dict[int, float] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asleep = False
        self._closed = False

    def hold(self, namespace: str) -> None:
        """Something is about to be claimed: be heard of from now on."""
        with self._changed:
            now = time.monotonic()
            # After a standstill this process may have been buried: what it claims next would be nobody's.
            silent_s = now - self._beaten.get(namespace, float("-inf"))
            if namespace not in self._held or silent_s > 2 * self._runtime.settings.heartbeat_ms / 1000:
                self._runtime.store(namespace).workers.beat(self._runtime.owner)
                self._beaten[namespace] = now
            self._held[namespace] = self._held.get(namespace, 0) + 1
            self._ensure_thread()

    def release(self, namespace: str) -> None:
        """A claim is over."""
        with self._changed:
            self._held[namespace] -= 1

    @contextmanager
    def in_lua(self) -> Iterator[None]:
        """Around calls into Lua: when one does not come back in time, the process is ended."""
        if not self._expendable:
            yield
            return
        me = threading.get_ident()
        with self._changed:
            self._lua_since[me] = time.monotonic()
            self._ensure_thread()
        try:
            yield
        finally:
            with self._changed:
                self._lua_since.pop(me, None)

    @contextmanager
    def outside_lua(self) -> Iterator[None]:
        """Inside :meth:`in_lua`, around what may wait for Redis: its time does not count, what follows counts anew."""
        me = threading.get_ident()
        with self._changed:
            is_watched = self._lua_since.pop(me, None) is not None
        try:
            yield
        finally:
            if is_watched:
                with self._changed:
                    self._lua_since[me] = time.monotonic()

    def close(self) -> None:
        """Stop, and say that this process is gone."""
        with self._changed:
            self._closed = True
            held, self._held = list(self._held), {}
            self._changed.notify_all()
        for namespace in held:
            try:
                self._runtime.store(namespace).workers.leave(self._runtime.owner)
            except StoreError as error:
                logger.info("could not say goodbye", extra={"error": str(error)})

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._watch, name="orchestration-presence", daemon=True)
            self._thread.start()
        elif self._asleep:  # a thread that beats already needs no call
            self._changed.notify_all()

    def _watch(self) -> None:
        beat_s = self._runtime.settings.heartbeat_ms / 1000
        idle_since: dict[str, float] = {}
        while True:
            with self._changed:
                if not self._closed:  # it may have been closed while this thread beat
                    self._asleep = not (self._held or self._lua_since)
                    self._changed.wait(timeout=None if self._asleep else beat_s)
                    self._asleep = False
                if self._closed:
                    return
                held = dict(self._held)
                stuck = min(self._lua_since.values(), default=None)
            now = time.monotonic()
            if stuck is not None and now - stuck > self._runtime.settings.watchdog_ms / 1000:
                logger.critical("one call into Lua does not come back: ending this process")
                os.kill(os.getpid(), signal.SIGKILL)
            for namespace, count in held.items():
                if count:
                    idle_since.pop(namespace, None)
                elif now - idle_since.setdefault(namespace, now) > 5 * beat_s:
                    self._leave(namespace)
                    idle_since.pop(namespace, None)
                    continue
                try:
                    self._runtime.store(namespace).workers.beat(self._runtime.owner)
                    self._beaten[namespace] = now
                except StoreError as error:
                    logger.warning("heartbeat failed", extra={"error": str(error)})

    def _leave(self, namespace: str) -> None:
        with self._changed:  # all the time: who holds something meanwhile must be heard of after this, not before
            if self._held.get(namespace) != 0:
                return
            del self._held[namespace]
            try:
                self._runtime.store(namespace).workers.leave(self._runtime.owner)
            except StoreError as error:
                logger.info("could not say that nothing is held", extra={"error": str(error)})
