"""Bootsteps of a worker: tracers wrapped once the consumer has them, the sweep started and stopped with the worker."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, bootsteps

from orchestration.tasks.consumers.serving import ConsumersStep
from orchestration.tasks.qos import install_qos
from orchestration.tasks.revoking import install_revoking
from orchestration.tasks.self_report import REPORT, self_report
from orchestration.tasks.unknown import answer_unknown
from orchestration.telemetry.events import EventStep
from orchestration.telemetry.serving import MetricsStep

__all__ = ["SweepStep", "TracerStep", "install_step"]

logger = logging.getLogger(__name__)


class SweepStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Runs the sweep in a thread of the worker's main process."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._sweeper: Any = None
        self._consumers: Any = None
        self._archiver: Any = None
        self._states: Any = None

    def start(self, parent: Any) -> None:
        """The pool is up: look after the store."""
        from orchestration.tasks.archive import Archiver
        from orchestration.tasks.aside import Aside
        from orchestration.tasks.foreign.consumers import Consumers
        from orchestration.tasks.states import StateKeeper
        from orchestration.tasks.sweep import Sweeper
        from orchestration.tasks.unclaimed import Unclaimed

        parts = parent.app.orchestration.parts
        with parts.runtime.starting():
            for namespace in parts.runtime.namespaces:
                parts.runtime.store(namespace)
        self._consumers = Consumers(parts.runtime, str(getattr(parent, "hostname", "") or ""))
        unclaimed = Unclaimed(parts.runtime, parts.reports, self._consumers)
        self._states = StateKeeper(parts.runtime, look=parts.canvases.look)
        aside = Aside(parts.engine.outbox)
        self._sweeper = Sweeper(parts.runtime, parts.engine, parts.attempts, unclaimed, self._states, aside)
        self._archiver = Archiver(parts.runtime)
        self._sweeper.start()
        self._archiver.start()
        self._states.start()

    def stop(self, parent: Any) -> None:
        """The worker goes down; the pool is drained after this."""
        del parent
        if self._sweeper is not None:
            self._sweeper.stop()
            self._consumers.leave()
            self._archiver.stop()
            self._states.stop()
            self._sweeper = self._archiver = self._states = self._consumers = None

    terminate = stop

    def info(self, obj: Any) -> dict[str, Any]:
        """What `celery inspect stats` shows of this worker beside what it shows of any."""
        return {REPORT: self_report(obj.app.orchestration)}


class TracerStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Wraps the tracers of the process that consumes, for pools that run tasks in it."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """The consumer has built its tracers."""
        install_qos(parent.task_consumer.channel)
        parent.app.orchestration.wrap_tracers(parent.hostname)
        answer_unknown(parent)
        install_revoking()
        _outlive_the_broker(parent)


def _outlive_the_broker(consumer: Any) -> None:
    """Keep a worker running whose broker goes away while it holds messages.

    With Celery 5.7 and kombu 5.7 a message held over the loss is put back, or acknowledged, by a channel whose
    connection has been closed for good. Celery forgives a connection error there; kombu raises an AttributeError, and
    the worker ends. So it is made a connection error.

    Source: ``Channel._connparams`` in kombu/transport/redis.py; the transport's ``client`` is None once it is closed.
    """
    channel_class = type(consumer.connection.default_channel)
    original = getattr(channel_class, "_connparams", None)
    if original is None or getattr(original, "outlives", False):
        return

    def parameters(channel: Any, *args: Any, **kwargs: Any) -> Any:
        if channel.connection.client is None:
            raise ConnectionError("this connection to the broker is closed")
        return original(channel, *args, **kwargs)

    parameters.outlives = True  # type: ignore[attr-defined]
    channel_class._connparams = parameters


def install_step(app: Celery) -> None:
    """Add the bootsteps to the workers of an application."""
    app.steps["worker"].add(SweepStep)
    app.steps["worker"].add(ConsumersStep)
    app.steps["worker"].add(MetricsStep)
    app.steps["consumer"].add(TracerStep)
    app.steps["consumer"].add(EventStep)
