"""Module ``store``: values by key, shared by all functions and processes of the deployment.

A store is an entry of the kind ``store.memory`` or ``store.sql``. The former lives in Redis, or with
``backend: memory`` in each OS process for itself: there the same scripts run over keys in memory. The latter is a table
of a database (:mod:`orchestration.modules.sql_items`). Permission: ``store.get`` on the id of the store.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from orchestration.core import payload
from orchestration.core.lua.host import HostError
from orchestration.errors import EncodeError, PayloadTooLargeError, StoreError
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import require
from orchestration.modules.verbs import verb
from orchestration.registry.kinds.databases import SqliteDatabase
from orchestration.registry.kinds.stores import StoreBackend, StoreMemory, StoreSql
from orchestration.store.items import Item, Items
from orchestration.store.keys import ActorKeys
from orchestration.tasks.runtime import Runtime

if TYPE_CHECKING:
    from orchestration.modules.sql_items import SqlItems

__all__ = ["delete", "put", "read"]

_MOST_KEY_BYTES: Final = 1_024
_LONGEST_TTL_S: Final = 100 * 366 * 86_400
_DEFAULT_PAGE: Final = 100
_LARGEST_PAGE: Final = 1_000
_PAGE_BYTES: Final = 1_048_576
_AROUND_ITEM: Final = 64
"""Bytes that an entry takes beside its key and value."""
_TIDIED_AT_ONCE: Final = 1_000
_PUT_OPTIONS: Final = frozenset({"ttl", "only_if_absent", "if_version"})
_LIST_OPTIONS: Final = frozenset({"prefix", "after", "limit"})


class _LocalStores:
    """The stores that this OS process has for itself."""

    def __init__(self) -> None:
        from orchestration.store.memory import MemoryConnection  # only where it is used: it brings another Lua along

        self._items = Items(MemoryConnection(), ActorKeys("local"))
        self._tidied: dict[str, float] = {}

    def of(self, entry: StoreMemory) -> Items:
        """Items of a store; what has ended is removed first, once in its interval."""
        now = time.monotonic()
        last = self._tidied.setdefault(entry.id, now)
        if 0 < entry.cleanup_interval <= (now - last) * 1000:
            self._tidied[entry.id] = now
            self._items.tidy(entry.id, limit=_TIDIED_AT_ONCE)
        return self._items


_local: weakref.WeakKeyDictionary[Runtime, _LocalStores] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@verb("store.get", quick=True)
def _get(caller: Caller, store_id: str) -> bool:
    require(caller, "store.get", store_id)
    _entry(caller, store_id)
    return True


@verb("store.read")
def _read(caller: Caller, store_id: str, key: str | bytes) -> Any:
    return payload.decode(_found(caller, store_id, key).value)


@verb("store.entry")
def _entry_of(caller: Caller, store_id: str, key: str | bytes) -> dict[str, Any]:
    return _shown(_found(caller, store_id, key))


@verb("store.has")
def _has(caller: Caller, store_id: str, key: str | bytes) -> bool:
    with _answering():
        return _opened(caller, _entry(caller, store_id)).has(store_id, _key(key))


@verb("store.put")
def _put(caller: Caller, store_id: str, key: str | bytes, value: Any, options: Any) -> int:
    """Write a key; answers the version written."""
    given = _options(options, _PUT_OPTIONS)
    only_if_absent, wanted = given.get("only_if_absent", False), given.get("if_version")
    if not isinstance(only_if_absent, bool):
        raise HostError("Invalid", "only_if_absent must be a boolean")
    if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1):
        raise HostError("Invalid", "if_version must be a version: a whole number from 1")
    if only_if_absent and wanted is not None:
        raise HostError("Invalid", "only_if_absent and if_version exclude each other")
    entry, name, ttl_ms = _entry(caller, store_id), _key(key), _ttl_ms(given.get("ttl"))
    condition = "absent" if only_if_absent else "" if wanted is None else str(wanted)
    encoded = _encoded(caller, name, value)
    caller.check()
    with _answering():
        if isinstance(entry, StoreSql):
            put = _rows(caller, entry).put(store_id, name, encoded, ttl_ms=ttl_ms, wanted=condition)
        else:
            put = _items(caller, entry).put(
                store_id, name, encoded, node=_node(caller, entry), most=entry.max_size, ttl_ms=ttl_ms, wanted=condition
            )
    if put.status == "exists":
        found = f", with version {put.version}" if put.version else ""
        raise HostError("AlreadyExists", f"the key is there{found}")
    if put.status == "conflict":
        found = f"has version {put.version}" if put.version else "is not there"
        raise HostError("Conflict", f"the key {found}, not version {wanted}")
    if put.status == "full" and isinstance(entry, StoreMemory):
        raise HostError("RateLimited", f"the store {store_id} is full: it takes {entry.max_size} keys", True)
    if put.status == "gone":
        raise _replaced()
    return put.version


@verb("store.delete")
def _delete(caller: Caller, store_id: str, key: str | bytes) -> bool:
    entry, name = _entry(caller, store_id), _key(key)
    caller.check()
    with _answering():
        if isinstance(entry, StoreSql):
            return _rows(caller, entry).delete(store_id, name)
        existed = _items(caller, entry).delete(store_id, name, node=_node(caller, entry))
    if existed is None:
        raise _replaced()
    return existed


@verb("store.list")
def _list(caller: Caller, store_id: str, options: Any) -> dict[str, Any]:
    given = _options(options, _LIST_OPTIONS)
    prefix, after = given.get("prefix", ""), given.get("after", "")
    if not isinstance(prefix, str | bytes) or not isinstance(after, str | bytes):
        raise HostError("Invalid", "prefix and after must be strings")
    limit = given.get("limit", _DEFAULT_PAGE)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _LARGEST_PAGE:
        raise HostError("Invalid", f"limit must be a whole number of 1 to {_LARGEST_PAGE}")
    size = min(_PAGE_BYTES, caller.runtime.settings.value_limit_bytes // 2)
    with _answering():
        page = _opened(caller, _entry(caller, store_id)).page(
            store_id, prefix=_bytes(prefix), after=_bytes(after), limit=limit, size_bytes=size
        )
    found: dict[str, Any] = {"items": [_shown(item) for item in page.items], "has_more": page.has_more}
    return {**found, "cursor": _text(page.last)} if page.has_more else found


@verb("store.info", quick=True)
def _info(caller: Caller, store_id: str) -> dict[str, Any]:
    entry = _entry(caller, store_id)
    is_sql = isinstance(entry, StoreSql)
    is_shared = _is_shared_database(caller, entry) if isinstance(entry, StoreSql) else _is_shared(entry)
    return {
        "id": store_id,
        "backend": "sql" if is_sql else "memory",
        "consistency": "linearizable" if is_shared else "local",
        "durable": is_shared,
        "list": True,
        "versioned": not is_sql,
        "conditional_put": True,
        "ttl": True,
    }


# For other modules, which ask for permissions of their own.


def read(caller: Caller, store_id: str, key: bytes) -> Any:
    """What is under a key; None for nothing."""
    try:
        return _read(caller, store_id, key)
    except HostError as error:
        if error.kind == "NotFound" and caller.runtime.registry.find(store_id) is not None:
            return None
        raise


def put(caller: Caller, store_id: str, key: bytes, value: Any, *, ttl_ms: int) -> None:
    """Write a key that must not be there, for so many milliseconds."""
    _put(caller, store_id, key, value, {"ttl": ttl_ms / 1000, "only_if_absent": True})


def delete(caller: Caller, store_id: str, key: bytes) -> bool:
    """Remove a key; whether it was there."""
    return bool(_delete(caller, store_id, key))


def _entry(caller: Caller, store_id: str) -> StoreMemory | StoreSql:
    entry = caller.runtime.registry.find(store_id)
    if entry is None:
        raise HostError("NotFound", f"there is no store {store_id}")
    if not isinstance(entry, StoreMemory | StoreSql):
        raise HostError("NotFound", f"{store_id} is no store: it is a {entry.kind}")
    return entry


def _is_shared(entry: StoreMemory) -> bool:
    return entry.backend is StoreBackend.REDIS


def _is_shared_database(caller: Caller, entry: StoreSql) -> bool:
    """All but an SQLite in memory, which each OS process has for itself."""
    database = caller.runtime.registry.find(entry.database)
    return not (isinstance(database, SqliteDatabase) and database.file == ":memory:")


def _rows(caller: Caller, entry: StoreSql) -> SqlItems:
    from orchestration.modules.sql_items import SqlItems  # only where it is used: SQLAlchemy is an extra

    return SqlItems(caller.runtime, entry, caller.check)


def _opened(caller: Caller, entry: StoreMemory | StoreSql) -> Items | SqlItems:
    return _rows(caller, entry) if isinstance(entry, StoreSql) else _items(caller, entry)


def _items(caller: Caller, entry: StoreMemory) -> Items:
    runtime = caller.runtime
    if _is_shared(entry):
        return runtime.store(runtime.settings.namespace).items
    with _lock:
        stores = _local.get(runtime)
        if stores is None:
            stores = _local[runtime] = _LocalStores()
        return stores.of(entry)


def _node(caller: Caller, entry: StoreMemory) -> str:
    """Who is fenced; what only this process sees needs no fence."""
    return caller.node if _is_shared(entry) else ""


def _found(caller: Caller, store_id: str, key: str | bytes) -> Item:
    with _answering():
        item = _opened(caller, _entry(caller, store_id)).read(store_id, _key(key))
    if item is None:
        raise HostError("NotFound", "there is nothing under this key")
    return item


def _shown(item: Item) -> dict[str, Any]:
    return {"key": _text(item.key), "value": payload.decode(item.value), "version": item.version}


def _encoded(caller: Caller, key: bytes, value: Any) -> bytes:
    if value is None:
        raise HostError("Invalid", "a value is needed: nil is none, delete(key) removes a key")
    limit = caller.runtime.settings.value_limit_bytes
    try:
        return payload.encode(value, limit=limit - len(key) - _AROUND_ITEM)
    except (EncodeError, PayloadTooLargeError) as error:
        raise HostError("Invalid", str(error)) from None


def _key(key: str | bytes) -> bytes:
    found = _bytes(key)
    if not found:
        raise HostError("Invalid", "key required")
    if len(found) > _MOST_KEY_BYTES:
        raise HostError("Invalid", f"a key has at most {_MOST_KEY_BYTES} bytes, not {len(found)}")
    return found


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _text(value: bytes) -> str | bytes:
    """As it came: Lua's strings are bytes, the codec tells text from others."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _ttl_ms(seconds: Any) -> int:
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_TTL_S:
        raise HostError("Invalid", "ttl must be a number of seconds, 0 for no end")
    return math.ceil(seconds * 1000)


def _options(options: Any, known: frozenset[str]) -> dict[str, Any]:
    """An empty Lua table comes as a list."""
    if options is None or options == []:
        return {}
    if not isinstance(options, dict) or not options.keys() <= known:
        raise HostError("Invalid", f"the options are {', '.join(sorted(known))}")
    return options


def _replaced() -> HostError:
    return HostError("Canceled", "this process's worker was taken for dead and has been replaced: nothing was written")


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise HostError("Unavailable", str(error), retryable=True) from error
