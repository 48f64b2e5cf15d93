"""What pages and API read and do through the client, in threads of their own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from orchestration.client import (
    Client,
    Description,
    ProcessDescription,
    ScheduleDescription,
    ScheduleHandle,
    ServiceDescription,
    WorkflowHandle,
    WorkflowPage,
)
from orchestration.client.listing import Filters, merge_pages
from orchestration.core.bundle import Bundle
from orchestration.core.timeline import Timeline, read_timeline
from orchestration.errors import DecodeError, ScheduleNotFoundError, StoreUnavailableError, WorkflowNotFoundError

if TYPE_CHECKING:
    from orchestration.tasks.app import Orchestration

__all__ = ["MOST_EVENTS", "Reader"]

P = ParamSpec("P")
T = TypeVar("T")

_THREADS: Final = 8
_PATIENCE_S: Final = 5.0
"""How long a page waits for a Redis that does not answer."""
_MOST_WAITING: Final = 32
"""Requests that are answered, or wait for it, at a time: the last of them is told so in 20 seconds at the latest."""
_KEPT: Final = 32
"""Timelines and bundles kept, of the runs looked at last."""
MOST_EVENTS: Final = 20_000
"""Events that a timeline is made of at most."""


class Reader:
    """The clients of a Flower, one for each namespace, and what is worth keeping of what they read.

    Args:
        orchestration: Of the Celery application.
    """

    def __init__(self, orchestration: Orchestration) -> None:
        self.orchestration = orchestration
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="workflows")
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(_MOST_WAITING)
        self._is_ready = False
        self._stay = contextlib.ExitStack()
        self._timelines: OrderedDict[str, tuple[int, Timeline]] = OrderedDict()
        self._bundles: OrderedDict[str, Bundle | None] = OrderedDict()

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what waits for Redis in a thread.

        Raises:
            StoreUnavailableError: So many wait already that this could not be done soon; it was not begun.
        """

        def run() -> T:
            self._prepare()
            return work(*args, **kwargs)

        if not self._room.acquire(blocking=False):
            raise StoreUnavailableError(
                f"{_MOST_WAITING} requests wait for Redis already: it does not answer, or slowly; try again later"
            )
        future = self._executor.submit(run)
        future.add_done_callback(lambda _: self._room.release())  # also when nobody waits for it any more
        return await asyncio.wrap_future(future)

    def _prepare(self) -> None:
        """Before the first read: the application's tasks and definitions; and nobody waits for Redis as workers do."""
        with self._lock:
            if self._is_ready:
                return
            self.orchestration.app.finalize()
            patience = getattr(self.orchestration.runtime.connection, "patience", None)
            if patience is not None:
                self._stay.enter_context(patience(_PATIENCE_S))
            self._is_ready = True

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where runs are looked for."""
        return self.orchestration.runtime.namespaces

    def client(self, namespace: str | None = None) -> Client:
        """A client of a namespace; None: the application's.

        Raises:
            ValueError: The application has no such namespace.
        """
        if namespace and namespace not in self.namespaces:
            raise ValueError(f"there is no namespace {namespace!r:.100} here")
        return Client(self.orchestration, namespace=namespace or None)

    def clients(self, namespace: str = "") -> list[Client]:
        """Clients of one namespace, or of all."""
        return [self.client(name) for name in ([namespace] if namespace else self.namespaces)]

    def find(self, workflow_id: str, run_id: str = "", namespace: str = "") -> tuple[WorkflowHandle, Description]:
        """A run that exists, and where it stands.

        Args:
            workflow_id: Its workflow's id.
            run_id: One run of it; empty: the latest.
            namespace: Where it is; empty: looked for everywhere.

        Raises:
            WorkflowNotFoundError: There is none.
        """
        missing = WorkflowNotFoundError("no workflow is named")
        for client in self.clients(namespace) if workflow_id else ():
            handle = client.get_workflow(workflow_id, run_id or None)
            try:
                seen = handle.describe()
            except WorkflowNotFoundError as error:
                missing = error
                continue
            if seen.workflow_id != workflow_id:
                missing = WorkflowNotFoundError(f"workflow {workflow_id!r} has no run {run_id!r}")
                continue
            return client.get_workflow(workflow_id, seen.run_id), seen
        raise missing

    def run(self, run_id: str, namespace: str) -> Description | None:
        """Where a run stands that another one names; None when it is not kept any more."""
        try:
            return self.client(namespace).get_workflow("-", run_id).describe()
        except WorkflowNotFoundError:
            return None

    def page(
        self, where: str, filters: Filters, *, size: int, cursor: str = "", namespace: str = ""
    ) -> WorkflowPage:  # fmt: skip
        """One page of runs of all namespaces, or of one; its cost is bounded."""
        pages = [
            client.list_workflows(where or None, page_size=size, cursor=cursor, **filters)
            for client in self.clients(namespace)
        ]
        return merge_pages(pages, size)

    def counts(self, by: str = "group", where: str = "", namespace: str = "", **filters: Any) -> dict[str, int]:
        """Numbers of runs of all namespaces, or of one."""
        found: dict[str, int] = {}
        for client in self.clients(namespace):
            for name, count in client.count_workflows(where or None, by=by, **filters).items():
                found[name] = found.get(name, 0) + count
        return found

    def parked(self, namespace: str = "") -> dict[str, int]:
        """Numbers of parked runs, by what keeps them."""
        found: dict[str, int] = {}
        for client in self.clients(namespace):
            for name, count in client.count_parked().items():
                found[name] = found.get(name, 0) + count
        return dict(sorted(found.items()))

    def types(self) -> list[str]:
        """Entry ids of the workflows that this application can start."""
        return sorted(entry.id for entry in self.orchestration.registry.entries if entry.kind == "workflow.lua")

    def schedules(
        self, *, prefix: str = "", after: str = "", limit: int = 100, namespace: str = ""
    ) -> list[ScheduleDescription]:
        """Schedules of all namespaces, or of one, in the order of their ids."""
        found: list[ScheduleDescription] = []
        for client in self.clients(namespace):
            found += client.list_schedules(prefix=prefix, after=after, limit=limit)
        return sorted(found, key=lambda seen: seen.id)[:limit]

    def schedule(self, schedule_id: str, namespace: str = "") -> tuple[ScheduleHandle, ScheduleDescription]:
        """A schedule that exists.

        Raises:
            ScheduleNotFoundError: There is none.
        """
        for client in self.clients(namespace):
            handle = client.get_schedule(schedule_id)
            try:
                return handle, handle.describe()
            except ScheduleNotFoundError:
                continue
        raise ScheduleNotFoundError(schedule_id)

    def processes(self, host: str = "") -> list[ProcessDescription]:
        """The processes that the deployment knows."""
        return self.client().list_processes(host=host or None)

    def services(self) -> list[ServiceDescription]:
        """The supervised services."""
        return self.client().list_services()

    def timeline(self, handle: WorkflowHandle, seen: Description) -> Timeline:
        """What a run did, read again when there is more of it; of a very long history the beginning."""
        with self._lock:
            kept = self._timelines.get(seen.run_id)
        if kept is not None and kept[0] == seen.history_length:
            return kept[1]
        timeline = read_timeline(handle.raw_history(stop=min(seen.history_length, MOST_EVENTS)))
        self._keep(self._timelines, seen.run_id, (seen.history_length, timeline))
        return timeline

    def bundle(self, handle: WorkflowHandle, seen: Description) -> Bundle | None:
        """The code that a run is on; None when it is not kept, or cannot be read."""
        with self._lock:
            if seen.bundle in self._bundles:
                return self._bundles[seen.bundle]
        raw = handle.code()
        try:
            found = Bundle.decode(raw) if raw is not None else None
        except DecodeError:
            found = None
        self._keep(self._bundles, seen.bundle, found)
        return found

    def _keep(self, kept: OrderedDict[str, Any], key: str, value: Any) -> None:
        with self._lock:
            kept[key] = value
            kept.move_to_end(key)
            while len(kept) > _KEPT:
                kept.popitem(last=False)
