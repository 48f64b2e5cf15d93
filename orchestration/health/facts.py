"""What checks know: the application, the store, and what the workers say of themselves, asked once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from celery import Celery

from orchestration.core.activity_options import entry_options
from orchestration.registry.kinds.functions import FunctionCelery
from orchestration.registry.kinds.lua import WorkflowLua
from orchestration.settings import Settings
from orchestration.store.store import Store
from orchestration.tasks.asking import remote_control
from orchestration.tasks.messages import RESUME_TASK
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.self_report import REPORT

__all__ = ["BrokerAwayError", "Facts", "SeenWorker"]

logger = logging.getLogger(__name__)

_QUESTIONS: Final = ("stats", "active_queues", "registered", "conf")


class BrokerAwayError(Exception):
    """The broker does not answer: what depends on it cannot be looked at."""


@dataclass(slots=True)
class SeenWorker:
    """A worker that has answered.

    Attributes:
        name: Its node name.
        stats: What ``celery inspect stats`` says.
        queues: Those it consumes from; None: it has not said.
        tasks: Names of the tasks it knows; None: it has not said.
        conf: What its application has set.
        skew_ms: How far its clock is ahead of this host's, and by how much that may be wrong; None: not known.
        namesakes: How many others have answered by the same name.
    """

    name: str
    stats: Mapping[str, Any] = field(default_factory=dict)
    queues: tuple[str, ...] | None = None
    tasks: frozenset[str] | None = None
    conf: Mapping[str, Any] = field(default_factory=dict)
    skew_ms: tuple[float, float] | None = None
    namesakes: int = 0

    @property
    def report(self) -> Mapping[str, Any]:
        """What the extension in it says of itself; empty without one, or with one of an older release."""
        found = self.stats.get(REPORT)
        return found if isinstance(found, Mapping) else {}

    @property
    def has_extension(self) -> bool | None:
        """Whether it moves runs; None when it has not said."""
        if self.report:
            return True
        return None if self.tasks is None else RESUME_TASK in self.tasks


class Facts:
    """What one examination knows.

    Args:
        runtime: Of this process.
        namespace: Whose runs are looked at.
        timeout_s: How long workers may take to answer, and how long one check may take.
    """

    def __init__(self, runtime: Runtime, namespace: str, *, timeout_s: float) -> None:
        self.runtime = runtime
        self.namespace = namespace
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._workers: dict[str, SeenWorker] | BrokerAwayError | None = None

    @property
    def app(self) -> Celery:
        """The application."""
        return self.runtime.app

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.runtime.settings

    @property
    def store(self) -> Store:
        """Where the runs are kept."""
        return self.runtime.store(self.namespace)

    @property
    def transport(self) -> str:
        """Name of the broker's transport: ``redis``, ``amqp``, ``memory`` ..."""
        connection = self.app.connection_for_write()
        try:
            return str(connection.transport.driver_type)
        finally:
            connection.release()

    @property
    def default_queue(self) -> str:
        """Celery's default queue."""
        return str(self.app.conf.task_default_queue)

    @cached_property
    def start_queues(self) -> dict[str, list[str]]:
        """Queues that workflows are started and moved on, with the ids of the entries."""
        found: dict[str, list[str]] = {}
        for entry in self.runtime.registry.of(WorkflowLua):
            queue = self.runtime.registry.task_queue(entry.id) or self.settings.default_queue or self.default_queue
            found.setdefault(queue, []).append(entry.id)
        return found

    @cached_property
    def work_queues(self) -> dict[str, list[str]]:
        """Queues that activities and functions are sent to, with the ids of the entries."""
        registry, found = self.runtime.registry, dict[str, list[str]]()
        for entry in registry.entries:
            if not entry.kind.startswith("function."):
                continue
            named = entry_options(getattr(entry, "options", {})).get("task_queue")
            queue = named or registry.task_queue(entry.id)
            if queue is None and isinstance(entry, FunctionCelery):
                queue = self._routed(entry.task_name)
            if queue:
                found.setdefault(str(queue), []).append(entry.id)
        return found

    def _routed(self, task: str) -> str:
        try:
            route = self.app.amqp.router.route({}, task)
        except Exception as error:  # noqa: BLE001 - a router of the application's own may raise anything
            logger.info("no route: %s", error, extra={"task": task})
            return ""
        queue = route.get("queue")
        return str(getattr(queue, "name", queue) or "")

    @property
    def workers(self) -> dict[str, SeenWorker]:
        """Workers that have answered in time, by name.

        Raises:
            BrokerAwayError: They could not be asked.
        """
        with self._lock:
            if self._workers is None:
                try:
                    self._workers = self._ask_workers()
                except BrokerAwayError as error:
                    self._workers = error
            if isinstance(self._workers, BrokerAwayError):
                raise self._workers
            return self._workers

    def _ask_workers(self) -> dict[str, SeenWorker]:
        """Ask all that there is to know at once: a broadcast takes as long as it waits."""
        answers: dict[str, dict[str, Any]] = {}
        heard: dict[str, tuple[float, float]] = {}
        counts: Counter[str] = Counter()
        problems: list[Exception] = []
        wait_s = max(self.timeout_s / 4, 0.5)

        def ask(question: str) -> None:
            asked = time.time()

            def hear(reply: Mapping[str, Any]) -> None:
                for name in reply:
                    heard[name] = (asked * 1000, time.time() * 1000)

            callback: Callable[..., None] | None = hear if question == "stats" else None
            try:
                with self.app.connection_for_write(connect_timeout=wait_s) as connection:
                    found = remote_control(self.app).broadcast(
                        question, reply=True, timeout=wait_s, connection=connection, callback=callback
                    )
            except Exception as error:  # noqa: BLE001 - whatever the transport raises: it is told below
                problems.append(error)
                return
            answers[question] = {name: answer for reply in found or () for name, answer in reply.items()}
            if question == "stats":
                counts.update(str(name) for reply in found or () for name in reply)

        threads = [threading.Thread(target=ask, args=(question,), daemon=True) for question in _QUESTIONS]
        for thread in threads:
            thread.start()
        end = time.monotonic() + self.timeout_s
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))
        if not answers:
            why = problems[0] if problems else f"no answer within {self.timeout_s:g} s"
            raise BrokerAwayError(f"workers cannot be asked, the broker does not answer: {why}")
        seen = self._seen(dict(answers), dict(heard))
        for name, worker in seen.items():
            worker.namesakes = max(counts[name] - 1, 0)
        return seen

    @staticmethod
    def _seen(
        answers: Mapping[str, Mapping[str, Any]], heard: Mapping[str, tuple[float, float]]
    ) -> dict[str, SeenWorker]:
        found: dict[str, SeenWorker] = {}
        for question, replies in answers.items():
            for name, answer in replies.items():
                worker = found.setdefault(name, SeenWorker(name))
                if isinstance(answer, Mapping) and set(answer) == {"error"}:
                    continue
                if question == "stats" and isinstance(answer, Mapping):
                    worker.stats = answer
                elif question == "active_queues" and isinstance(answer, list):
                    worker.queues = tuple(str(queue.get("name", "")) for queue in answer)
                elif question == "registered" and isinstance(answer, list):
                    worker.tasks = frozenset(str(task).partition(" ")[0] for task in answer)
                elif question == "conf" and isinstance(answer, Mapping):
                    worker.conf = answer
        for name, (asked_ms, heard_ms) in heard.items():
            clock_ms = found[name].report.get("time_ms") if name in found else None
            if isinstance(clock_ms, int | float):
                found[name].skew_ms = (clock_ms - (asked_ms + heard_ms) / 2, (heard_ms - asked_ms) / 2)
        return found
