"""Which queue consumers a worker serves, and where they run: beside a pool of threads, in a process of their own
beside a pool of processes.
"""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery, bootsteps

from orchestration.errors import ConfigError
from orchestration.host.step import find_application
from orchestration.processes import start_bound
from orchestration.registry import Registry
from orchestration.registry.kinds.queues import Queue, QueueConsumer
from orchestration.settings import Settings
from orchestration.tasks.consumers.consumer import Consumers
from orchestration.tasks.pools import greenlet_pool, name_of_pool

__all__ = ["SERVES", "ConsumersProcess", "ConsumersStep", "served"]

logger = logging.getLogger(__name__)

SERVES = "orchestration_consumers"
"""Name, among the statistics of a worker, of the ids of the queue consumers that run with it."""

_AGAIN_AFTER_S = 1.0
_LONGEST_WAIT_S = 30.0
_STABLE_S = 60.0


def served(registry: Registry, settings: Settings) -> list[QueueConsumer]:
    """The consumers that the workers of these settings serve.

    ``orchestration_consumers`` is ``auto`` (those with ``lifecycle.auto_start``), ``none``, or ids separated by commas,
    in which ``*`` stands for anything.
    """
    entries = registry.of(QueueConsumer)
    wanted = [part.strip() for part in settings.consumers.split(",") if part.strip()]
    if wanted == ["auto"]:
        return [entry for entry in entries if entry.lifecycle.auto_start]
    if wanted == ["none"]:
        return []
    return [entry for entry in entries if any(fnmatch.fnmatchcase(entry.id, pattern) for pattern in wanted)]


def _application(app: Celery, settings: Settings) -> str | None:
    """``module:name`` under which another process finds the application; None if it is in no module."""
    if settings.host_app:
        return settings.host_app
    try:
        return find_application(app)
    except ConfigError:
        return None


class ConsumersProcess:
    """The queue consumers of a worker with a pool of processes: in a child of its own, started again when it ends.

    In the worker's main process they would take turns with its consumer loop, and be copied by every fork.

    Args:
        path: Of the application, ``module:name``.
        consumers: Ids of their entries.
        level: Of its log.
        logfile: Of its log; None: the worker's standard error.
    """

    def __init__(self, path: str, consumers: Sequence[str], *, level: int, logfile: str | None) -> None:
        given = {"app": path, "consumers": list(consumers), "level": level, "logfile": logfile, "folder": os.getcwd()}
        self._command = [sys.executable, "-m", "orchestration.tasks.consumers.process", json.dumps(given)]
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        # The child is killed when the thread that started it ends: it starts and watches it in one.
        self._thread = threading.Thread(target=self._watch, name="queue consumers", daemon=True)

    def start(self) -> None:
        """Start it, and again whenever it ends."""
        self._thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """Have it finish what it runs; what is left after the time is killed."""
        with self._lock:
            self._stopping.set()
            process = self._process
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        self._thread.join(timeout_s)
        if self._thread.is_alive() and process is not None:
            process.kill()
            self._thread.join(5)

    def _watch(self) -> None:
        wait_s = _AGAIN_AFTER_S
        while True:
            begun = time.monotonic()
            with self._lock:
                if self._stopping.is_set():
                    return
                process = self._process = self._launch()
            if process is not None:
                code = process.wait()
                if self._stopping.is_set():
                    return
                logger.error("the process of the queue consumers ended, starting another", extra={"exit_code": code})
            wait_s = _AGAIN_AFTER_S if time.monotonic() - begun > _STABLE_S else min(2 * wait_s, _LONGEST_WAIT_S)
            self._stopping.wait(wait_s)

    def _launch(self) -> subprocess.Popen[bytes] | None:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        try:
            with os.fdopen(os.dup(2), "wb") as output:
                return start_bound(self._command, env=env, output=output)
        except (OSError, subprocess.SubprocessError):  # no memory, no file left: that may pass
            logger.exception("the process of the queue consumers could not be started, trying again")
            return None


class ConsumersStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Runs the queue consumers of the definitions with a worker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._running: Consumers | ConsumersProcess | None = None
        self._serves: list[str] = []
        self._timeout_s = 0.0

    def info(self, obj: Any) -> dict[str, Any]:
        """What `celery inspect stats` shows of this worker beside what it shows of any."""
        del obj
        return {SERVES: self._serves if self._running is not None else []}

    def start(self, parent: Any) -> None:
        """The pool is up: begin."""
        orchestration = parent.app.orchestration
        wanted = served(orchestration.registry, orchestration.settings)
        entries = _without_task_queues(parent.app, orchestration.registry, wanted)
        if not entries:
            return
        pool = name_of_pool(parent)
        if greenlet_pool(parent):
            logger.error(
                "this worker serves no queue consumers, because its pool (%s) has no threads: start one with "
                "--pool threads or prefork for %s", pool.rpartition(".")[2], ", ".join(entry.id for entry in entries),
            )  # fmt: skip
            return
        self._timeout_s = max(entry.lifecycle.stop_timeout for entry in entries) / 1000
        path = _application(parent.app, orchestration.settings) if "prefork" in pool or "processes" in pool else None
        if path is not None:
            ids, logfile = [entry.id for entry in entries], getattr(parent, "logfile", None)
            self._running = ConsumersProcess(path, ids, level=_level(parent), logfile=logfile)
        else:
            self._running = Consumers(orchestration.parts.runtime, entries)
        self._serves = [entry.id for entry in entries]
        self._running.start()

    def stop(self, parent: Any) -> None:
        """The worker goes down: finish what runs, take no more."""
        del parent
        self._end(self._timeout_s)

    def terminate(self, parent: Any) -> None:
        """The worker goes down at once."""
        del parent
        self._end(0)

    def _end(self, timeout_s: float) -> None:
        running, self._running = self._running, None
        if isinstance(running, Consumers):
            running.stop(timeout_s=timeout_s)
        elif running is not None:
            running.stop(timeout_s=timeout_s + 5)


def _level(parent: Any) -> int:
    level = getattr(parent, "loglevel", None)
    return level if isinstance(level, int) else logging.getLogger().getEffectiveLevel()


def _without_task_queues(app: Celery, registry: Registry, entries: list[QueueConsumer]) -> list[QueueConsumer]:
    """Those whose queue the worker does not take tasks from: it would throw away what is no task."""
    kept = []
    for entry in entries:
        queue = registry.find(entry.queue)
        assert isinstance(queue, Queue)
        name = queue.queue_name or queue.name
        if name in app.amqp.queues.consume_from:
            logger.error(
                "the consumer %s is not started: this worker takes Celery tasks from the same queue, %r; give %s "
                "another queue_name", entry.id, name, queue.id,
            )  # fmt: skip
        else:
            kept.append(entry)
    return kept
