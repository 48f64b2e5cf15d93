"""All definitions of an application, checked, immutable, and ready to be asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Final, TypeVar

from orchestration.core.bundle import Bundle, BundleMode, Import, Unit
from orchestration.errors import EntryNotFoundError, RegistryError
from orchestration.registry.entry import Entry
from orchestration.registry.fields import thaw
from orchestration.registry.kinds.functions import FunctionCelery, FunctionPython
from orchestration.registry.kinds.lua import FunctionLua, LuaEntry, ProcessLua, VersioningBehavior, WorkflowLua
from orchestration.registry.kinds.processes import ProcessPython
from orchestration.registry.kinds.workers import CeleryClient, CeleryWorker
from orchestration.registry.policies import Policies
from orchestration.registry.problems import Problem, close_matches
from orchestration.types import Digest, EntryId

__all__ = ["DEFAULT_NAMESPACE", "Registry"]

DEFAULT_NAMESPACE: Final = "default"
"""Namespace of runs for which no client gives one."""

_Kind = TypeVar("_Kind", bound=Entry)
_MODES: Mapping[type[Entry], BundleMode] = MappingProxyType(
    {FunctionLua: BundleMode.FUNCTION, ProcessLua: BundleMode.PROCESS, WorkflowLua: BundleMode.WORKFLOW}
)


class Registry:
    """The entries of all trees; made by :func:`~orchestration.registry.load_registry`.

    Args:
        entries: All entries, with references that hold.
        workers: The worker of each workflow; None is the default queue.
        warnings: What was accepted, but has no effect or may surprise.
    """

    def __init__(
        self,
        entries: Sequence[Entry] = (),
        *,
        workers: Mapping[EntryId, EntryId | None] | None = None,
        warnings: Sequence[Problem] = (),
    ) -> None:
        self.entries: tuple[Entry, ...] = tuple(sorted(entries, key=lambda entry: entry.id))
        self.warnings: tuple[Problem, ...] = tuple(warnings)
        self._by_id: dict[str, Entry] = {entry.id: entry for entry in self.entries}
        self._workers: dict[EntryId, EntryId | None] = dict(workers or {})
        self._types: dict[str, WorkflowLua] = {entry.type_name: entry for entry in self.of(WorkflowLua)}
        self._units: dict[str, Unit] = {}
        self._bundles: dict[str, Bundle] = {}
        self.digest: Digest = _digest(self.entries)

    def __contains__(self, entry_id: object) -> bool:
        return entry_id in self._by_id

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"<Registry of {len(self.entries)} entries, {self.digest[:12]}>"

    def find(self, entry_id: str) -> Entry | None:
        """The entry with this id, or None."""
        return self._by_id.get(entry_id)

    def get(self, entry_id: str) -> Entry:
        """The entry with this id.

        Raises:
            EntryNotFoundError: There is none; the hint names ids that are close.
        """
        entry = self._by_id.get(entry_id)
        if entry is None:
            raise EntryNotFoundError(entry_id, close_matches(entry_id, self._by_id))
        return entry

    def of(self, kind: type[_Kind]) -> tuple[_Kind, ...]:
        """All entries of a class, by id."""
        return tuple(entry for entry in self.entries if isinstance(entry, kind))

    @cached_property
    def policies(self) -> Policies:
        """All policies, ready to be asked."""
        return Policies(self.entries)

    def workflow_type(self, name: str) -> WorkflowLua | None:
        """The workflow that is started by this type name, or None."""
        return self._types.get(name)

    def worker_of(self, entry_id: str) -> EntryId | None:
        """The worker that serves an entry; a worker serves itself.

        Returns:
            Id of the worker; None if the entry is served on the default queue or belongs to no worker.

        Raises:
            EntryNotFoundError: No entry has this id.
        """
        entry = self.get(entry_id)
        if isinstance(entry, CeleryWorker):
            return entry.id
        if isinstance(entry, WorkflowLua):
            return self._workers.get(entry.id, entry.worker)
        if isinstance(entry, (FunctionLua, FunctionCelery, FunctionPython, ProcessLua, ProcessPython)):
            return entry.activity_worker
        return None

    def worker(self, entry_id: str) -> CeleryWorker:
        """The worker entry with this id.

        Raises:
            EntryNotFoundError: There is none, or the entry is no worker.
        """
        entry = self.get(entry_id)
        if not isinstance(entry, CeleryWorker):
            raise EntryNotFoundError(entry_id, f"it is a {entry.kind}, not a celery.worker")
        return entry

    def client_of(self, entry_id: str) -> CeleryClient | None:
        """The client of the worker that serves an entry, or None."""
        entry = self.get(entry_id)
        if isinstance(entry, CeleryClient):
            return entry
        worker_id = self.worker_of(entry_id)
        client = None if worker_id is None else self._by_id.get(self.worker(worker_id).client)
        return client if isinstance(client, CeleryClient) else None

    def task_queue(self, entry_id: str) -> str | None:
        """Name of the queue an entry is served on: the client's ``tq_prefix`` and the worker's ``task_queue``.

        Returns:
            The queue; None leaves it to Celery's routing. A ``function.celery`` without a worker has its ``queue``.

        Raises:
            EntryNotFoundError: No entry has this id.
        """
        worker_id = self.worker_of(entry_id)
        if worker_id is None:
            entry = self.get(entry_id)
            return entry.queue if isinstance(entry, FunctionCelery) else None
        client = self.client_of(worker_id)
        return (client.tq_prefix if client is not None else "") + self.worker(worker_id).task_queue

    def worker_queues(self) -> tuple[str, ...]:
        """Queues of all worker entries, sorted, each once."""
        queues = (self.task_queue(worker.id) for worker in self.of(CeleryWorker))
        return tuple(sorted({queue for queue in queues if queue is not None}))

    def namespace_of(self, entry_id: str) -> str:
        """Namespace that the runs of an entry are kept under, ``default`` if no client gives one.

        Raises:
            EntryNotFoundError: No entry has this id.
        """
        client = self.client_of(entry_id)
        return DEFAULT_NAMESPACE if client is None else client.run_namespace

    def versioning_of(self, entry_id: str) -> VersioningBehavior:
        """What the runs of a workflow do when newer code is deployed: the entry says it, else its worker.

        Raises:
            EntryNotFoundError: No entry has this id.
        """
        entry, worker_id = self.get(entry_id), self.worker_of(entry_id)
        own = entry.versioning if isinstance(entry, WorkflowLua) else None
        default = None if worker_id is None else self.worker(worker_id).worker_options.default_versioning_behavior
        return own or default or VersioningBehavior.PINNED

    def bundle(self, entry_id: str) -> Bundle:
        """All code that an entry runs; made once.

        Raises:
            EntryNotFoundError: No entry has this id.
            RegistryError: The entry has no Lua code of its own to run.
        """
        found = self._bundles.get(entry_id)
        if found is None:
            found = self._bundles[entry_id] = self._make_bundle(self.get(entry_id))
        return found

    def _make_bundle(self, entry: Entry) -> Bundle:
        if not isinstance(entry, (FunctionLua, ProcessLua, WorkflowLua)):
            msg = f"entry {entry.id} is a {entry.kind}: only function.lua, process.lua and workflow.lua can be run"
            raise RegistryError(msg)
        return Bundle(
            entry_id=entry.id,
            source_name=entry.location.source,
            source=entry.source,
            modules=entry.modules,
            imports=self._imports(entry),
            method=entry.method,
            mode=_MODES[type(entry)],
        )

    def _imports(self, entry: LuaEntry) -> tuple[Import, ...]:
        return tuple(Import(alias=alias, unit=self._unit(target)) for alias, target in sorted(entry.imports.items()))

    def _unit(self, entry_id: EntryId) -> Unit:
        unit = self._units.get(entry_id)
        if unit is None:
            entry = self.get(entry_id)
            if not isinstance(entry, LuaEntry):
                msg = f"entry {entry_id} is a {entry.kind}: it has no Lua code to import"
                raise RegistryError(msg)
            unit = self._units[entry_id] = Unit(
                entry_id=entry.id,
                source_name=entry.location.source,
                source=entry.source,
                modules=tuple(sorted(set(entry.modules))),
                imports=self._imports(entry),
            )
        return unit


def _digest(entries: Sequence[Entry]) -> Digest:
    """SHA-256 of all entries as written, files included, wherever they stand."""
    content = [[entry.id, entry.kind, thaw(entry.meta), thaw(entry.data)] for entry in entries]
    encoded = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return Digest(hashlib.sha256(encoded.encode()).hexdigest())
