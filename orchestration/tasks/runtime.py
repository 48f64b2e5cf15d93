"""What one process needs to move runs: stores, messages, a cache of live machines. Made anew after a fork."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from celery import Celery

from orchestration.core.bundle import Bundle
from orchestration.registry import Registry
from orchestration.settings import Settings
from orchestration.store.base import StoreOptions
from orchestration.store.connection import Connection
from orchestration.store.keys import Keyspace
from orchestration.store.offload.stages import open_stage
from orchestration.store.opening import open_connection
from orchestration.store.store import Store
from orchestration.tasks.cache import SessionCache
from orchestration.tasks.messages import Messages
from orchestration.tasks.owner import this_owner
from orchestration.tasks.pools import pool_without_lua
from orchestration.telemetry.announcer import Announcer
from orchestration.telemetry.events import Events
from orchestration.telemetry.facade import make_telemetry

if TYPE_CHECKING:
    from orchestration.host.node import Node
    from orchestration.tasks.app import Orchestration

__all__ = ["Runtime"]

logger = logging.getLogger(__name__)

_WORKER_PATIENCE_MS = 3_600_000


def is_worker(app: Celery) -> bool:
    """Whether this process belongs to a worker of the application."""
    return bool(getattr(app, "_orchestration_worker", False))


class Runtime:
    """The working parts of one process.

    Args:
        app: The Celery application.
        settings: Checked settings.
        registry: The definitions.
        connection: Where the runs are kept; None: the Redis of the settings.
    """

    def __init__(
        self, app: Celery, settings: Settings, registry: Registry, connection: Connection | None = None
    ) -> None:
        self.app = app
        self.settings = settings
        self.registry = registry
        self.pid = os.getpid()
        # A worker that gave up after a while would lose the outcomes of bodies that have run.
        is_patient = is_worker(app) or bool(getattr(app, "_orchestration_host", False))
        patience_ms = _WORKER_PATIENCE_MS if is_patient else settings.start_timeout_ms
        self._patience_s = patience_ms / 1000
        self.connection: Connection = connection or open_connection(
            settings.redis_url, patience_s=self._patience_s, connect_s=settings.connect_timeout_ms / 1000
        )
        self.messages = Messages(app, self.connection)
        self.telemetry = make_telemetry(settings)
        events = getattr(getattr(app, "orchestration", None), "events", None) or Events(app)
        self.announcer = Announcer(app, events, self.telemetry)
        self.cache = SessionCache(runs=settings.cache_runs, size_bytes=settings.cache_bytes, epoch=self.epoch)
        self.in_lua: Callable[[], AbstractContextManager[None]] = nullcontext
        self.monotonic: Callable[[], float] = time.monotonic
        self._stores: dict[str, Store] = {}
        self._bundles: dict[str, Bundle] = {}
        self.stored_bundles: set[str] = set()
        self._lock = threading.RLock()
        self._node: Node | None = None

    def around_code(self, where: str) -> AbstractContextManager[None]:
        """What the Python code of definitions runs in, see :meth:`Orchestration.around_code`."""
        orchestration: Orchestration = self.app.orchestration
        return orchestration.around_code(where)

    @property
    def owner(self) -> str:
        """Name of this process."""
        return this_owner()

    @property
    def node(self) -> Node:
        """This OS process in the world of processes; made at first use."""
        with self._lock:
            if self._node is None:
                from orchestration.host.node import Node

                self._node = Node(self)
            return self._node

    @property
    def known_node(self) -> Node | None:
        """The same, if it has been made."""
        return self._node

    @contextmanager
    def starting(self) -> Iterator[None]:
        """While a worker starts, Redis is tried for the time that the settings say, not for as long as for work."""
        patience = getattr(self.connection, "patience", None)
        with patience(self.settings.start_timeout_ms / 1000) if patience else nullcontext():
            yield

    def epoch(self) -> int:
        """Number of connections to Redis lost so far: after a loss, Redis may have gone back by a second."""
        return int(getattr(self.connection, "losses", 0))

    @property
    def holder(self) -> str:
        """Name of this thread as the holder of a run's lease."""
        return f"{this_owner()}/{threading.get_ident():x}"

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace that the definitions here use."""
        return tuple(sorted({self.settings.namespace, *map(self.namespace_of, self._workflow_ids())}))

    def _workflow_ids(self) -> list[str]:
        return [entry.id for entry in self.registry.entries if entry.kind == "workflow.lua"]

    def namespace_of(self, entry_id: str) -> str:
        """Namespace that the runs of an entry are kept in."""
        named = self.registry.namespace_of(entry_id)
        return self.settings.namespace if named == "default" else named

    def store(self, namespace: str) -> Store:
        """The store of a namespace, checked at first use.

        Raises:
            ConfigError: It was made with another number of shards.
            StoreUnavailableError: Redis does not answer.
        """
        store = self._stores.get(namespace)
        if store is None:
            settings = self.settings
            options = StoreOptions(
                lease_ms=settings.lease_ms,
                grace_ms=settings.resume_grace_ms,
                retention_ms=settings.retention_ms,
                mark_ms=max(settings.retention_ms, 2 * self._visibility_timeout_ms()),
                inbox_bound=settings.inbox_limit,
                archives=bool(settings.archive),
                offload_above=settings.offload_above_bytes,
                eta_max=max(settings.eta_tasks_max // settings.shards, 0) if self.messages.holds_delays else 0,
            )
            keyspace = Keyspace(settings.key_prefix, namespace, settings.shards)
            stage = open_stage(
                settings.offload, keyspace, patience_s=self._patience_s,
                connect_s=settings.connect_timeout_ms / 1000, now_ms=self.redis_now_ms,
            )  # fmt: skip
            store = Store(self.connection, keyspace, options, stage=stage)
            store.open()
            with self._lock:
                store = self._stores.setdefault(namespace, store)
        return store

    def _visibility_timeout_ms(self) -> int:
        options: dict[str, Any] = self.app.conf.broker_transport_options or {}
        return int(float(options.get("visibility_timeout", 3600)) * 1000)

    def bundle(self, store: Store, run_id: str, digest: str) -> Bundle | None:
        """A code bundle by its digest, from here or from the store; None when it is nowhere."""
        found = self._bundles.get(digest)
        if found is None:
            from orchestration.types import RunId

            code = store.runs.bundle(RunId(run_id), digest)
            if code is None:
                return None
            found = Bundle.decode(code)
            with self._lock:
                if len(self._bundles) >= 256:
                    self._bundles.pop(next(iter(self._bundles)))
                self._bundles[digest] = found
        return found

    def serves(self, queue: str) -> bool:
        """Whether this process belongs to a worker that advances the runs of a queue; empty is Celery's default queue.

        One whose pool can run no Lua does not, though it may consume the queue.
        """
        if not is_worker(self.app) or pool_without_lua(self.app):
            return False
        consumed = self.app.amqp.queues.consume_from
        return (queue or self.app.conf.task_default_queue) in consumed

    def stand_in(self, target: str) -> Callable[..., Any] | None:
        """What runs in the place of a function; in tests of workflows something does."""
        del target
        return None

    def redis_now_ms(self) -> int:
        """Redis' clock, the only one that decides anything: milliseconds since the epoch."""
        seconds, micros = self.connection.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def leave(self) -> None:
        """Take this OS process out of the world of processes; safe to repeat."""
        with self._lock:
            node, self._node = self._node, None
        if node is not None:
            node.close()

    def close(self) -> None:
        """Let go of connections and machines."""
        self.leave()
        self.cache.clear()
        self.messages.close()
        for store in self._stores.values():
            store.claims.close()
        close = getattr(self.connection, "close", None)
        if close is not None:
            close()
