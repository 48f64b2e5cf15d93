"""``Orchestration(app)``: the one line that adds durable workflows to a Celery application."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from celery import Celery, signals
from celery.app.trace import build_tracer

from orchestration.host.step import install_hosts
from orchestration.registry import Registry, load_registry
from orchestration.settings import Settings
from orchestration.store.connection import Connection
from orchestration.tasks.attempts import Attempts
from orchestration.tasks.canvas import Canvases
from orchestration.tasks.engine import Engine
from orchestration.tasks.entries import register_entries
from orchestration.tasks.flower import offer_dashboard
from orchestration.tasks.foreign.reports import Reports
from orchestration.tasks.messages import MARK
from orchestration.tasks.pools import keep_prefetch, note_pool
from orchestration.tasks.presence import Presence
from orchestration.tasks.publishing import install_publishing
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.signatures import QueueOf, queues_of
from orchestration.tasks.step import install_step
from orchestration.telemetry.events import Events
from orchestration.telemetry.serving import prepare_metrics

__all__ = ["Orchestration", "Parts"]

logger = logging.getLogger(__name__)


class Parts:
    """The working parts of one process: runtime, engine, attempts, reports, canvases.

    Args:
        runtime: Of this process.
        expendable: The process may be ended when it is stuck: a prefork child.
        presence: Says that this process lives; None: one that beats in a thread.
    """

    def __init__(self, runtime: Runtime, *, expendable: bool = False, presence: Presence | None = None) -> None:
        self.runtime = runtime
        self.presence = presence or Presence(runtime, expendable=expendable)
        runtime.in_lua = self.presence.in_lua
        self.engine = Engine(runtime, self.presence)
        self.attempts = Attempts(runtime, self.engine, self.presence)
        self.reports = Reports(runtime, self.engine, self.attempts)
        self.canvases = Canvases(runtime, self.attempts, self.reports.results)


class Orchestration:
    """Durable workflows for a Celery application.

    Nothing about the application's own tasks changes. Every definition becomes a Celery task of its id; workers of the
    application advance runs, fire timers and take over from workers that died.

    Args:
        app: The application; may be finalized or not.
        config: Path or paths of YAML trees; the environment variable ``ORCHESTRATION_CONFIG`` overrides it.
        settings: Settings that win over the application's configuration and the environment, by name without prefix.

    Raises:
        ConfigError: At first use: a setting is unknown or out of range.
        RegistryError: At first use: the definitions have mistakes; all of them are in the message.

    Example:
        ::

            app = Celery("shop", broker="redis://localhost/0", backend="redis://localhost/1")
            orchestration = Orchestration(app, config="config")
    """

    def __init__(
        self, app: Celery, config: str | Path | Iterable[str | Path] | None = None, **settings: Any
    ) -> None:
        if isinstance(config, (str, Path)):
            config = [config]
        self.app = app
        self._config = [str(path) for path in config] if config is not None else None
        self._arguments = settings
        self._settings: Settings | None = None
        self._registry: Registry | None = None
        self._parts: Parts | None = None
        self._lock = threading.RLock()
        self._child = False
        self._installed = False
        self.connection: Connection | None = None
        self.events = Events(app)
        app.orchestration = self
        if app.finalized:
            self._install(app)
        else:
            app.on_after_finalize.connect(self._install, weak=False)
            self._finalize_at_first_send(app)
        install_step(app)
        install_hosts(app)
        offer_dashboard()
        signals.worker_process_init.connect(self._on_child, weak=False)
        signals.worker_process_shutdown.connect(self._on_exit, weak=False)
        signals.worker_shutdown.connect(self._on_exit, weak=False)
        signals.celeryd_after_setup.connect(self._on_worker, weak=False)

    @property
    def settings(self) -> Settings:
        """The checked settings."""
        with self._lock:
            if self._settings is None:
                self._settings = Settings.from_celery(self.app.conf, config=self._config, **self._arguments)
            return self._settings

    @property
    def registry(self) -> Registry:
        """The definitions, loaded once."""
        with self._lock:
            if self._registry is None:
                self._registry = load_registry(list(self.settings.config))
                for warning in self._registry.warnings:
                    logger.warning("%s", warning)
            return self._registry

    @cached_property
    def queue_of(self) -> QueueOf:
        """Says the queue of the task of a definition; None for a task that is none of ours."""
        return queues_of(self.app, frozenset(entry.id for entry in self.registry.entries))

    @property
    def parts(self) -> Parts:
        """The working parts of this process, made at first use and again after a fork."""
        parts = self._parts
        if parts is not None and parts.runtime.pid == os.getpid():
            return parts
        with self._lock:
            if self._parts is None or self._parts.runtime.pid != os.getpid():
                runtime = Runtime(self.app, self.settings, self.registry, self.connection)
                self._parts = Parts(runtime, expendable=self._child)
            return self._parts

    @property
    def runtime(self) -> Runtime:
        """Stores, messages and caches of this process."""
        return self.parts.runtime

    def around_code(self, where: str) -> AbstractContextManager[None]:
        """What the Python code of definitions runs in. Integrations put the context of their framework here.

        Args:
            where: ``function``, ``local`` (a thread that ends with it), ``process`` or ``async process``.
        """
        del where
        return nullcontext()

    def _finalize_at_first_send(self, app: Celery) -> None:
        """Have the tasks registered before anything is sent.

        A process that only sends by name may never need the tasks of its application, so Celery would not finalize it:
        the first start of a workflow would go out as a plain message, with no run written.
        """
        original = app.send_task

        @functools.wraps(original)
        def send_task(name: str, *args: Any, **kwargs: Any) -> Any:
            app.finalize()
            if self._installed:
                app.__dict__.pop("send_task", None)
            elif ":" in name:  # one of ours, it seems; Celery only logs what goes wrong when it is finalized
                _ = self.registry
            return original(name, *args, **kwargs)

        app.send_task = send_task

    def _install(self, sender: Celery | None = None, **_: Any) -> None:
        del sender
        register_entries(self)
        install_publishing(self)
        self._installed = True

    def _on_child(self, **_: Any) -> None:
        """A prefork child has started: nothing of its parent's connections, locks or machines may be used."""
        self._lock = threading.RLock()
        self._parts = None
        self._child = True
        self.wrap_tracers()

    def _on_exit(self, sender: Any = None, **_: Any) -> None:
        """A prefork child, or a worker, ends in order: what others know of its functions and processes is forgotten."""
        parts = self._parts
        is_ours = getattr(sender, "app", self.app) is self.app
        if is_ours and parts is not None and parts.runtime.pid == os.getpid():
            parts.runtime.leave()

    def _on_worker(self, instance: Any, **_: Any) -> None:
        """A worker of this application is being set up: serve the queues of the definitions too."""
        if instance.app is not self.app:
            return
        self.app._orchestration_worker = True
        note_pool(instance, self.registry)
        keep_prefetch(instance)
        self.events.hostname = str(instance.hostname)  # before the pool's processes are made
        prepare_metrics(self.settings, instance)
        queues = self.app.amqp.queues
        if queues._consume_from is None:  # started without -Q: all declared queues, and ours
            names = [*queues, *self.registry.worker_queues()]
            if self.settings.default_queue:
                names.append(self.settings.default_queue)
            for name in names:
                if name not in queues:
                    queues.add(name)
            queues.select(list(dict.fromkeys(names)))

    def wrap_tracers(self, hostname: str | None = None, names: Sequence[str] | None = None) -> None:
        """Put the claim of activity attempts around the tracers of all tasks; ordinary messages pass unchanged."""
        for name in names or list(self.app.tasks):
            task = self.app.tasks[name]
            trace = getattr(task, "__trace__", None)
            if trace is None:
                trace = build_tracer(name, task, self.app.loader, hostname, app=self.app)
            if not getattr(trace, "orchestrated", False):
                task.__trace__ = self._wrap(trace)

    def _wrap(self, trace: Any) -> Any:
        def traced(uuid: str, args: Any, kwargs: Any, request: Any = None) -> Any:
            if request is None or MARK not in request:
                return trace(uuid, args, kwargs, request)
            return self.parts.attempts.run(trace, uuid, args, kwargs, request)

        traced.orchestrated = True  # type: ignore[attr-defined]
        return traced


