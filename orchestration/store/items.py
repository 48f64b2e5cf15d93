"""Key-value stores of processes and functions: items with a version and, if they are to end, a time for that."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from orchestration.store.base import text
from orchestration.store.connection import Connection
from orchestration.store.keys import ActorKeys
from orchestration.store.scripts import load_script

__all__ = ["Item", "ItemPage", "Items", "Put"]


@dataclass(frozen=True, slots=True)
class Item:
    """What a store has under a key.

    Attributes:
        key: The key.
        value: Its value, encoded.
        version: Grows with every write to the store.
    """

    key: bytes
    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Put:
    """Answer to a write.

    Attributes:
        status: ``"ok"``; ``"exists"`` or ``"conflict"``: the condition does not hold; ``"full"``; ``"gone"``: the
            writer has been taken for dead.
        version: The version written; of a condition that does not hold the version that is there, 0 for none.
    """

    status: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some items of a store, in the order of the bytes of their keys.

    Attributes:
        items: The items.
        last: The key after which the next page begins.
        has_more: Whether there is a next page.
    """

    items: tuple[Item, ...]
    last: bytes
    has_more: bool


class Items:
    """The verbs of key-value stores.

    A write whose reply is lost is sent again; it is done once all the same. Each thread that writes has a slot for
    that, whose last write the store remembers, with its answer.

    Args:
        connection: Redis, or the in-memory twin.
        keys: How the keys are called.
    """

    def __init__(self, connection: Connection, keys: ActorKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._writer = uuid.uuid4().hex[:16]
        self._requests = itertools.count(1)
        self._free: list[str] = []
        self._slots = 0
        self._lock = threading.Lock()

    def read(self, store_id: str, key: bytes) -> Item | None:
        """The item under a key, or None."""
        reply = self._read(store_id, key, whole=True)
        return Item(key, reply[2], int(reply[1])) if text(reply[0]) == "found" else None

    def has(self, store_id: str, key: bytes) -> bool:
        """Whether there is something under a key."""
        return text(self._read(store_id, key, whole=False)[0]) == "found"

    def _read(self, store_id: str, key: bytes, *, whole: bool) -> list[Any]:
        return self._connection.run(load_script("read_item"), self._three(store_id), (key, int(whole)))

    def put(
        self, store_id: str, key: bytes, value: bytes, *, node: str, most: int, ttl_ms: int = 0, wanted: str = ""
    ) -> Put:
        """Write a key.

        Args:
            store_id: Id of the store's entry.
            key: The key.
            value: Its value, encoded.
            node: Node of the writer, see ``include/fence.lua``; empty: nothing fences it.
            most: Most keys of the store: a new one above it is refused.
            ttl_ms: Milliseconds until it ends; 0: it does not.
            wanted: Condition: ``"absent"``, or the version that the key must have, as text; empty: none.
        """
        keys = self._keys
        with self._slot() as (receipt, request):
            reply = self._connection.run(
                load_script("put_item"),
                (keys.nodes, *self._three(store_id), keys.item_versions, receipt),
                (node, request, store_id, key, value, ttl_ms, most, wanted),
            )
        return Put(text(reply[0]), int(reply[1]) if len(reply) > 1 else 0)

    def delete(self, store_id: str, key: bytes, *, node: str) -> bool | None:
        """Delete a key.

        Returns:
            Whether it was there; None if the caller has been taken for dead, and nothing was done.
        """
        with self._slot() as (receipt, request):
            reply = self._connection.run(
                load_script("drop_item"), (self._keys.nodes, *self._three(store_id), receipt), (node, request, key)
            )
        return text(reply[1]) == "1" if text(reply[0]) == "ok" else None

    def page(self, store_id: str, *, prefix: bytes, after: bytes, limit: int, size_bytes: int) -> ItemPage:
        """A page of items.

        Args:
            store_id: Id of the store's entry.
            prefix: Only keys that begin so.
            after: Only keys behind this one; empty: from the first on.
            limit: Most items, 1 to 1,000.
            size_bytes: Keys and values of a page take no more, unless there is but one item.
        """
        high = _behind(prefix)
        found: list[Item] = []
        size = 0
        while True:
            low = b"(" + after if after >= prefix and after else b"[" + prefix if prefix else b"-"
            reply = self._connection.run(
                load_script("list_items"), self._three(store_id), (low, high, limit - len(found), size_bytes - size)
            )
            more, last, flat = text(reply[1]) == "1", bytes(reply[2]), reply[3:]
            fresh = [Item(flat[i], flat[i + 2], int(flat[i + 1])) for i in range(0, len(flat), 3)]
            added = sum(len(item.key) + len(item.value) for item in fresh)
            if found and size + added > size_bytes:  # the first item of a page is handed over whatever its size
                return ItemPage(tuple(found), after, True)
            found += fresh
            size += added
            after = last or after
            if not more or len(found) >= limit or size >= size_bytes:
                return ItemPage(tuple(found), after, more)

    def tidy(self, store_id: str, *, limit: int) -> bool:
        """Remove what has ended, at most so many keys; answers whether there may be more."""
        reply = self._connection.run(load_script("tidy_items"), self._three(store_id), (limit,))
        return int(reply[1]) >= limit

    def _three(self, store_id: str) -> tuple[str, str, str]:
        keys = self._keys
        return keys.items(store_id), keys.item_keys(store_id), keys.item_ends(store_id)

    @contextmanager
    def _slot(self) -> Iterator[tuple[str, str]]:
        """The receipt of a slot that nobody else uses meanwhile, and the id of a request."""
        with self._lock:
            if self._free:
                slot = self._free.pop()
            else:
                self._slots += 1
                slot = f"{self._writer}/{self._slots}"
            request = str(next(self._requests))
        try:
            yield self._keys.receipt(slot), request
        finally:
            with self._lock:
                self._free.append(slot)


def _behind(prefix: bytes) -> bytes:
    """The end of all keys with a prefix, as ZRANGEBYLEX takes it."""
    head = prefix.rstrip(b"\xff")
    return b"(" + head[:-1] + bytes([head[-1] + 1]) if head else b"+"
