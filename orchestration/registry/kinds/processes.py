"""Hosts of actors, and actors that run as services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import Integer, Name, Reference, fault, freeze, record
from orchestration.registry.kinds.functions import check_callable
from orchestration.registry.kinds.lifecycle import Lifecycle
from orchestration.registry.kinds.lua import ProcessLua, _Options, activity_links, host_links

__all__ = ["HostLimits", "ProcessHost", "ProcessPython", "ProcessService", "Scope"]


@record
class HostLimits:
    """Size of a process host.

    Attributes:
        workers: Threads that run actors; None is the number of CPUs.
        queue_size: Actors that may wait for a thread in the reference runtime. Here an actor waits once at most, so
            that ``processes_max`` of the settings is the bound.
        local_queue_size: The same for one thread.
    """

    workers: Integer | None = Field(default=None, gt=0)
    queue_size: Integer = Field(default=1024, gt=0)
    local_queue_size: Integer = Field(default=256, gt=0)


@record
class ProcessHost(Entry):
    """Where actors run."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"host.queue_size", "host.local_queue_size"})
    INSTEAD: ClassVar[str] = "orchestration_processes_max bounds the processes of a worker, and so those that wait"

    host: HostLimits = Field(default_factory=HostLimits)
    lifecycle: Lifecycle = Field(default_factory=Lifecycle)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from self.lifecycle.links()


@record
class ProcessPython(_Options, Entry):
    """An actor in Python. Its code is imported by the worker that runs it, not while loading.

    Attributes:
        callable: ``package.module:name`` of a class, an async function or an async generator function.
        default_host: Host on which calls of it as a function run.
        activity_worker: The worker that it is an activity of.
    """

    META_FIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = ProcessLua.META_FIELDS

    callable: Annotated[Name, AfterValidator(check_callable)]
    default_host: Reference | None = Field(default=None, validation_alias="@default_host")
    activity_worker: Reference | None = Field(default=None, validation_alias="@activity_worker")

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from activity_links(self.activity_worker)
        yield from host_links(self.default_host)


def _check_host(value: str) -> str:
    if value == "node:control":
        raise fault("invalid host: node:control", "name a process.host entry")
    return value


class Scope(Enum):
    """How many instances of a service there are."""

    DEPLOYMENT = "deployment"
    """One, on one of the workers that serve its host; another takes over when that one dies."""
    WORKER = "worker"
    """One on each worker that serves its host."""


@record
class ProcessService(Entry):
    """An actor that is kept running.

    Attributes:
        process: Id of the ``process.lua`` or ``process.python`` entry.
        host: Id of the host it runs on.
        input: Arguments of the process.
        scope: How many instances there are.
    """

    process: Reference
    host: Annotated[Reference, AfterValidator(_check_host)]
    input: Annotated[tuple[Any, ...], AfterValidator(freeze)] = ()
    scope: Scope = Scope.DEPLOYMENT
    lifecycle: Lifecycle = Field(default_factory=Lifecycle)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        kinds = ("process.lua", "process.python")
        yield Link(field="process", target=self.process, kinds=kinds, wanted="a process.lua entry")
        yield Link(field="host", target=self.host, kinds=("process.host",), wanted="a process.host entry")
        yield from self.lifecycle.links()
