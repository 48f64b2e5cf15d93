"""Bootsteps of a worker: tracers wrapped once the consumer has them, the sweep started and stopped with the worker."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, bootsteps

from orchestration.tasks.unknown import answer_unknown

__all__ = ["SweepStep", "TracerStep", "install_step"]

logger = logging.getLogger(__name__)


class SweepStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Runs the sweep in a thread of the worker's main process."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._sweeper: Any = None

    def start(self, parent: Any) -> None:
        """The pool is up: look after the store."""
        from orchestration.tasks.sweep import Sweeper

        parts = parent.app.orchestration.parts
        for namespace in parts.runtime.namespaces:
            parts.runtime.store(namespace)
        self._sweeper = Sweeper(parts.runtime, parts.engine, parts.attempts)
        self._sweeper.start()

    def stop(self, parent: Any) -> None:
        """The worker goes down; the pool is drained after this."""
        del parent
        if self._sweeper is not None:
            self._sweeper.stop()
            self._sweeper = None

    terminate = stop


class TracerStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Wraps the tracers of the process that consumes, for pools that run tasks in it."""

    requires = {"celery.worker.consumer.tasks:Tasks"}

    def start(self, parent: Any) -> None:
        """The consumer has built its tracers."""
        parent.app.orchestration.wrap_tracers(parent.hostname)
        answer_unknown(parent)
        _outlive_the_broker(parent)


def _outlive_the_broker(consumer: Any) -> None:
    """Keep a worker running whose broker is away while it holds messages.

    Celery 5.7 with kombu 5.7 closes the lost connection twice. The second time kombu tries to put held messages back by
    a connection that has no client any more, and its AttributeError ends the worker. The messages are the broker's to
    bring back, or the sweep's; the connection is gone either way.
    """
    closing = consumer.on_connection_error_after_connected
    if getattr(closing, "outlives", False):
        return

    def outliving(error: Exception) -> None:
        try:
            closing(error)
        except Exception:
            if consumer.connection is not None:
                raise
            logger.warning("held messages could not be put back: the broker is away", exc_info=True)

    outliving.outlives = True  # type: ignore[attr-defined]
    consumer.on_connection_error_after_connected = outliving


def install_step(app: Celery) -> None:
    """Add the bootsteps to the workers of an application."""
    app.steps["worker"].add(SweepStep)
    app.steps["consumer"].add(TracerStep)
