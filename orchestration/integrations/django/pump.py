"""The outbox in workers: a thread of the main process that sends what web processes have left."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any, Final

from celery import bootsteps

from orchestration.errors import ConfigError

__all__ = ["OutboxPump", "OutboxStep"]

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_S: Final = 30.0
_TIDY_EVERY_S: Final = 60.0


class OutboxStep(bootsteps.StartStopStep):
    """Runs the pump in a thread of the worker's main process."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._pump: OutboxPump | None = None

    def start(self, parent: Any) -> None:
        """The pool is up: look at the outbox from now on."""
        self._pump = OutboxPump(parent.app.orchestration)
        self._pump.start()

    def stop(self, parent: Any) -> None:
        """The worker goes down."""
        del parent
        if self._pump is not None:
            self._pump.stop()
            self._pump = None

    terminate = stop


class OutboxPump:
    """Sends, and tidies up, the outbox of each database, again and again.

    Args:
        orchestration: A ``DjangoOrchestration``.
    """

    def __init__(self, orchestration: Any) -> None:
        self._orchestration = orchestration
        self._settings = orchestration.django
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._runtime: Any = None
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._tidy_due: dict[str, float] = {}

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="orchestration-outbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits for the entries at hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _loop(self) -> None:
        from django.db import connections

        try:
            while not self._stop.is_set():
                now = time.monotonic()
                for using in self._settings.outbox_databases:
                    if self._due.get(using, 0.0) <= now and not self._stop.is_set():
                        self._due[using] = time.monotonic() + self._look(using)
                soonest = min(self._due.values(), default=now + 1.0)
                self._stop.wait(max(soonest - time.monotonic(), 0.0))
        finally:
            connections.close_all()

    def _look(self, using: str) -> float:
        """Look at one outbox.

        Returns:
            Seconds until the next look.
        """
        from django.db import connections

        try:
            is_full, away = self.turn(using)
        except ConfigError as error:
            logger.error("the outbox cannot be sent: %s", error)
            return _LONGEST_PAUSE_S
        except Exception as error:  # noqa: BLE001 - the database is away, or not migrated: it is looked at again
            logger.warning(
                "the outbox of database %r cannot be read (has `manage.py migrate` been run?): %s: %s",
                using, type(error).__name__, error,
            )  # fmt: skip
            with contextlib.suppress(Exception):  # some databases refuse to close what is broken; it is let go anyway
                connections[using].close()
            away = error
            is_full = False
        if away is not None:
            pause = min(2 * self._pauses.get(using, 0.5), _LONGEST_PAUSE_S)
            self._pauses[using] = pause
            return pause
        self._pauses.pop(using, None)
        return 0.0 if is_full else float(self._settings.outbox_interval_ms) / 1000

    def turn(self, using: str) -> tuple[bool, Exception | None]:
        """Send what is due once, and now and then delete what is old.

        Returns:
            Whether there may be more to send, and why nothing can be sent at present.
        """
        from django.db import connections

        from orchestration.integrations.django.sending import impatient_runtime, remove_old, send_due

        connections[using].close_if_unusable_or_obsolete()
        if self._runtime is None:
            self._runtime = impatient_runtime(self._orchestration)
        done = send_due(self._runtime, using, self._settings)
        if done.away is not None:
            logger.warning("the outbox waits: %s", done.away)
        now = time.monotonic()
        if now >= self._tidy_due.get(using, 0.0):
            has_more = remove_old(using, self._settings) >= 1000
            self._tidy_due[using] = now + (1.0 if has_more else _TIDY_EVERY_S)
        return done.is_full, done.away
