"""Key-value stores."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Annotated

from pydantic import AfterValidator, Field

from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import Integer, Name, PositiveDurationMs, Reference, record
from orchestration.registry.kinds.lifecycle import Lifecycle

__all__ = ["StoreBackend", "StoreMemory", "StoreSql"]

_DEFAULT_SIZE = 10_000


def _default_size(value: int) -> int:
    return value or _DEFAULT_SIZE


class StoreBackend(Enum):
    """Where a store keeps its items."""

    REDIS = "redis"
    """In Redis: one store for the whole deployment."""
    MEMORY = "memory"
    """In the OS process: each process has a store of its own, which ends with it."""


@record
class StoreMemory(Entry):
    """A store of limited size; when it is full, new keys are refused.

    Attributes:
        backend: Where its items are.
        max_size: Most keys.
        cleanup_interval: Milliseconds between removals of expired keys.
    """

    backend: StoreBackend = StoreBackend.REDIS
    max_size: Annotated[Integer, Field(ge=0), AfterValidator(_default_size)] = _DEFAULT_SIZE
    cleanup_interval: PositiveDurationMs = 300_000
    lifecycle: Lifecycle = Field(default_factory=Lifecycle)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from self.lifecycle.links()


@record
class StoreSql(Entry):
    """A store in a table of a database, SQLite or PostgreSQL.

    Attributes:
        database: Id of its ``db.sql`` entry.
        table_name: The table, ``schema.table`` if need be; it is made when it is not there.
        id_column_name: Its column of keys: text, unique.
        payload_column_name: Its column of values: bytes.
        expire_column_name: Its column of the times at which keys end: milliseconds since 1970, or NULL.
        cleanup_interval: Milliseconds between removals of expired keys, in each OS process that uses it; 0: never.
    """

    database: Reference
    table_name: Name
    id_column_name: Name = "key"
    payload_column_name: Name = "value"
    expire_column_name: Name = "expires_at"
    cleanup_interval: PositiveDurationMs = 0
    lifecycle: Lifecycle = Field(default_factory=Lifecycle)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield Link(field="database", target=self.database, kinds=("db.sql.*",), wanted="a db.sql entry")
        yield from self.lifecycle.links()
