"""Entries that hold Lua code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import Boolean, Integer, Name, Reference, Text, fault, record
from orchestration.types import EntryId

__all__ = [
    "LUA_KINDS",
    "FunctionLua",
    "LibraryLua",
    "LuaEntry",
    "ModuleLua",
    "Pool",
    "PoolType",
    "ProcessLua",
    "VersioningBehavior",
    "WorkflowLua",
]

LUA_KINDS = ("library.lua", "module.lua", "function.lua", "process.lua", "workflow.lua")
WORKER_KINDS = ("celery.worker", "temporal.worker")
HOST_KINDS = ("process.host", *WORKER_KINDS)
_ACTIVITY_WORKER = ("temporal.activity.worker", "celery.activity.worker")
_DEFAULT_HOST = ("default_host", "options.default_host")
_FEWEST = "write a number of at least 1"


class PoolType(Enum):
    """How the Lua states of a function are kept."""

    INLINE = "inline"
    """In the caller."""
    LAZY = "lazy"
    """Created on demand, idle ones removed."""
    STATIC = "static"
    """A fixed number of workers with a queue."""
    ADAPTIVE = "adaptive"
    """Grows and shrinks."""


@record
class Pool:
    """How many calls of a function may run at once.

    Attributes as written; :attr:`kind`, :attr:`limit` and :attr:`queue` are what they come to.
    """

    type: PoolType | None = None
    size: Integer | None = Field(default=None, ge=0)
    workers: Integer | None = Field(default=None, ge=0)
    buffer: Integer | None = Field(default=None, ge=0)
    max_size: Integer | None = Field(default=None, ge=0)
    warm_start: Boolean = False

    @field_validator("type", mode="before")
    @classmethod
    def _known_type(cls, value: object) -> object:
        names = [member.value for member in PoolType]
        if isinstance(value, str) and value not in names:
            raise fault(f"unknown pool type: {value}", "use one of " + ", ".join(names))
        return value

    @model_validator(mode="after")
    def _check_sizes(self) -> Pool:
        if self.type is PoolType.STATIC and self.size == 0 and not self.workers:
            raise fault("pool.size must be greater than 0 for non-flex pools", _FEWEST)
        if self.size == 0 and self.workers:
            raise fault("pool.size must be greater than 0 for worker pools", _FEWEST)
        return self

    @property
    def kind(self) -> PoolType:
        """The type in force."""
        if self.type is not None:
            return self.type
        return PoolType.STATIC if self.workers or self.size else PoolType.LAZY

    @property
    def limit(self) -> int | None:
        """Most calls that run at once; None is no limit."""
        if self.kind is PoolType.INLINE:
            return None
        if self.kind is PoolType.STATIC:
            return self.workers or self.size or 8
        return self.max_size or (100 if self.type is None else 16)

    @property
    def queue(self) -> int:
        """Most calls that wait for a static pool; 0 for other types, where waiting has no bound."""
        return (self.buffer or (self.limit or 0) * 64) if self.kind is PoolType.STATIC else 0


def _check_module(name: str) -> str:
    if not name.strip():
        raise fault("module cannot be empty", "name a module, such as time, or remove the item")
    if ":" in name:
        raise fault("module cannot have a namespace", "put entries under 'imports:' as 'alias: ns:name'")
    return name


def _check_imports(imports: Mapping[str, EntryId]) -> Mapping[str, EntryId]:
    if any(not alias.strip() for alias in imports):
        raise fault("import alias cannot be empty", "write 'alias: ns:name'")
    return MappingProxyType(dict(imports))


Imports = Annotated[Mapping[str, Reference], AfterValidator(_check_imports)]


@record
class LuaEntry(Entry):
    """Common to all entries with Lua code.

    Attributes:
        source: The Lua text.
        modules: Built-in modules bound for it.
        imports: Alias to the id of a library.
    """

    STAND_INS: ClassVar[Mapping[str, str]] = MappingProxyType({"source": "return nil", "method": "main"})

    source: Name = Field(repr=False)
    modules: tuple[Annotated[str, Field(strict=True), AfterValidator(_check_module)], ...] = ()
    imports: Imports = Field(default_factory=dict)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        for alias, target in self.imports.items():
            yield Link(field=f"imports.{alias}", target=target, kinds=LUA_KINDS, wanted="a library.lua entry")


@record
class LibraryLua(LuaEntry):
    """Lua code that other entries import."""


@record
class ModuleLua(LibraryLua):
    """A library with several methods; used like any library."""

    method: Text = ""


class _Options:
    """Entries with default call options."""

    __slots__ = ()
    meta: Mapping[str, Any]

    @property
    def options(self) -> Mapping[str, Any]:
        """Default call options, ``meta.options``; those of a call go over them."""
        options = self.meta.get("options")
        return options if isinstance(options, Mapping) else MappingProxyType({})


def activity_links(worker: EntryId | None) -> Iterator[Link]:
    """The link of an activity to its worker."""
    if worker is not None:
        yield Link(field="@activity_worker", target=worker, kinds=WORKER_KINDS, wanted="a celery.worker entry")


def host_links(host: EntryId | None) -> Iterator[Link]:
    """The link of a process to the host that calls of it run on."""
    if host is not None:
        yield Link(field="@default_host", target=host, kinds=HOST_KINDS, wanted="a process.host entry")


@record
class FunctionLua(_Options, LuaEntry):
    """A Lua function, served as a Celery task of the entry's id.

    Attributes:
        method: Name of the exported function.
        pool: How many calls run at once.
        activity_worker: The worker that it is an activity of.
    """

    META_FIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({"@activity_worker": _ACTIVITY_WORKER})

    method: Name
    pool: Pool = Field(default_factory=Pool)
    activity_worker: Reference | None = Field(default=None, validation_alias="@activity_worker")

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from LuaEntry.links(self)
        yield from activity_links(self.activity_worker)


@record
class ProcessLua(_Options, LuaEntry):
    """A Lua actor.

    Attributes:
        method: Name of the exported function.
        default_host: Host on which calls of it as a function run.
        activity_worker: The worker that it is an activity of.
    """

    META_FIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"@activity_worker": _ACTIVITY_WORKER, "@default_host": _DEFAULT_HOST}
    )

    method: Name = "main"
    default_host: Reference | None = Field(default=None, validation_alias="@default_host")
    activity_worker: Reference | None = Field(default=None, validation_alias="@activity_worker")

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from LuaEntry.links(self)
        yield from activity_links(self.activity_worker)
        yield from host_links(self.default_host)


class VersioningBehavior(Enum):
    """What a run does when newer code is deployed."""

    PINNED = "pinned"
    """It stays on its code."""
    AUTO_UPGRADE = "auto_upgrade"
    """It moves when its history allows it."""


@record
class WorkflowLua(LuaEntry):
    """A durable workflow.

    Attributes:
        method: Name of the exported function.
        versioning: What runs do when newer code is deployed; None: what the worker says, see
            ``Registry.versioning_of``.
        worker: The worker named in meta; the one in force is ``Registry.worker_of``.
        declared_type: Type name given in meta.
    """

    META_FIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {
            "@worker": ("temporal.workflow.worker", "celery.workflow.worker"),
            "@type": ("temporal.workflow.name", "celery.workflow.name"),
        }
    )

    method: Name = "main"
    versioning: VersioningBehavior | None = None
    worker: Reference | None = Field(default=None, validation_alias="@worker")
    declared_type: Name | None = Field(default=None, validation_alias="@type")

    @property
    def type_name(self) -> str:
        """Name that the workflow is started by: the one given in meta, else the entry id."""
        return self.declared_type or self.id

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from LuaEntry.links(self)
        if self.worker is not None:
            yield Link(field="@worker", target=self.worker, kinds=WORKER_KINDS, wanted="a celery.worker entry")
