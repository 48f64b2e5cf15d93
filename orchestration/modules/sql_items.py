"""Items of a ``store.sql``: rows of a table in a database of the definitions."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from orchestration.core.lua.host import HostError
from orchestration.modules.sql_engines import engine_of, find_database, translated
from orchestration.registry.kinds.stores import StoreSql
from orchestration.store.items import Item, ItemPage, Put
from orchestration.tasks.runtime import Runtime

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine, Table

__all__ = ["SqlItems"]

logger = logging.getLogger(__name__)

_NOW_MS: Final = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}
"""The time of the database, by dialect: no worker's clock decides what has ended."""
_TIDIED_AT_ONCE: Final = 1_000


class _Place:
    """A table that is known to be there."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.tidied = time.monotonic()


_places: weakref.WeakKeyDictionary[Engine, dict[str, _Place]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class SqlItems:
    """The verbs of one key-value store, as those of :class:`~orchestration.store.items.Items`.

    Its items have no versions: 0 stands for them. A write whose reply is lost is not sent again.

    Args:
        runtime: Of this OS process.
        entry: The store.
        check: Raises when nothing must be written any more; called right before each commit.

    Raises:
        HostError: Its database, or the table, is not there and cannot be made.
    """

    def __init__(self, runtime: Runtime, entry: StoreSql, check: Callable[[], None]) -> None:
        self._entry = entry
        self._check = check
        self._engine = engine_of(runtime, find_database(runtime, entry.database))

        import sqlalchemy  # the line before says so when it is missing

        self._dialect = self._engine.dialect.name
        if self._dialect not in _NOW_MS:
            text = f"{entry.id} is in a database of {self._dialect}: store.sql is for SQLite and PostgreSQL"
            raise HostError("Unavailable", text)
        place = self._place()
        columns = place.table.c
        self._table = place.table
        self._key, self._value = columns[entry.id_column_name], columns[entry.payload_column_name]
        self._ends = columns[entry.expire_column_name]
        self._now: ColumnElement[int] = sqlalchemy.literal_column(_NOW_MS[self._dialect], sqlalchemy.BigInteger)
        self._is_live = sqlalchemy.or_(self._ends.is_(None), self._ends > self._now)
        self._tidy(place)

    def read(self, _store_id: str, key: bytes) -> Item | None:
        """The item under a key, or None."""
        import sqlalchemy

        query = sqlalchemy.select(self._value).where(self._key == _text(key), self._is_live)
        with self._connected() as connection:
            row = connection.execute(query).first()
        return None if row is None else self._item(key, row[0])

    def has(self, _store_id: str, key: bytes) -> bool:
        """Whether there is something under a key."""
        import sqlalchemy

        query = sqlalchemy.select(sqlalchemy.literal(1)).where(self._key == _text(key), self._is_live)
        with self._connected() as connection:
            return connection.execute(query).first() is not None

    def put(self, store_id: str, key: bytes, value: bytes, *, ttl_ms: int = 0, wanted: str = "") -> Put:
        """Write a key.

        Args:
            store_id: Id of the store's entry.
            key: The key.
            value: Its value, encoded.
            ttl_ms: Milliseconds until it ends; 0: it does not.
            wanted: ``"absent"``: only if it is not there; empty: no condition.

        Raises:
            HostError: Another condition: there are no versions.
        """
        from sqlalchemy.dialects import postgresql, sqlite

        if wanted not in ("", "absent"):
            text = f"{store_id} is a store.sql, whose items have no versions: use only_if_absent, or the module sql"
            raise HostError("Invalid", text)
        make: Any = postgresql.insert if self._dialect == "postgresql" else sqlite.insert
        ends = self._now + ttl_ms if ttl_ms else None
        insert = make(self._table).values(
            {self._key.name: _text(key), self._value.name: value, self._ends.name: ends}
        )
        upsert = insert.on_conflict_do_update(
            index_elements=[self._key],
            set_={column.name: insert.excluded[column.name] for column in (self._value, self._ends)},
            where=(self._ends <= self._now) if wanted else None,
        ).returning(self._key)
        with self._connected(writes=True) as connection:
            is_written = connection.execute(upsert).first() is not None
        return Put("ok" if is_written else "exists")

    def delete(self, _store_id: str, key: bytes) -> bool:
        """Delete a key; whether it was there."""
        import sqlalchemy

        statement = sqlalchemy.delete(self._table).where(self._key == _text(key), self._is_live)
        with self._connected(writes=True) as connection:
            return connection.execute(statement).rowcount > 0

    def page(self, _store_id: str, *, prefix: bytes, after: bytes, limit: int, size_bytes: int) -> ItemPage:
        """A page of items, in the order of the bytes of their keys; see :meth:`Items.page`."""
        import sqlalchemy

        key = self._key.collate("C") if self._dialect == "postgresql" else self._key
        within = [self._is_live]
        if prefix:
            within.append(key >= _text(prefix))
            end = _behind(_text(prefix))
            within += [key < end] if end else []
        if after:
            within.append(key > _text(after))
        sizes = sqlalchemy.select(self._key, sqlalchemy.func.length(self._value)).where(*within)
        with self._connected() as connection:
            found = connection.execute(sizes.order_by(key).limit(limit + 1)).all()
            names: list[str] = []
            size = 0
            for name, length in found[:limit]:
                size += len(name.encode()) + length
                if names and size > size_bytes:
                    break
                names.append(name)
            if not names:
                return ItemPage((), after, False)
            values = sqlalchemy.select(self._key, self._value).where(*within, key <= names[-1])
            rows = connection.execute(values.order_by(key).limit(len(names))).all()
        items = tuple(self._item(name.encode(), value) for name, value in rows)
        last = items[-1].key if len(items) == len(names) else names[-1].encode()
        return ItemPage(items, last, len(names) < len(found))

    def _tidy(self, place: _Place) -> None:
        """Remove what has ended, once in the interval of the entry; should that fail, whoever came goes on."""
        import sqlalchemy

        now, pause_ms = time.monotonic(), self._entry.cleanup_interval
        if not pause_ms or (now - place.tidied) * 1000 < pause_ms:
            return
        place.tidied = now
        ended = sqlalchemy.select(self._key).where(self._ends <= self._now).limit(_TIDIED_AT_ONCE)
        statement = sqlalchemy.delete(self._table).where(
            self._key.in_(ended.with_for_update(skip_locked=True)), self._ends <= self._now
        )
        try:
            with self._connected(writes=True) as connection:
                if connection.execute(statement).rowcount >= _TIDIED_AT_ONCE:
                    place.tidied -= pause_ms / 1000  # there may be more
        except Exception as error:  # noqa: BLE001 - what has ended is not there for anybody, removed or not
            logger.warning("what has ended in %s cannot be removed: %s", self._entry.id, error)

    def _place(self) -> _Place:
        """The table, made when it is not there."""
        entry = self._entry
        with _lock:
            places = _places.setdefault(self._engine, {})
        found = places.get(entry.id)
        if found is None:
            import sqlalchemy

            table = self._define()
            try:
                if not sqlalchemy.inspect(self._engine).has_table(table.name, schema=table.schema):
                    self._make(table)
            except sqlalchemy.exc.SQLAlchemyError as error:
                raise translated(error) from error
            found = places.setdefault(entry.id, _Place(table))
        return found

    def _define(self) -> Table:
        import sqlalchemy as sa

        entry = self._entry
        schema, _, name = entry.table_name.rpartition(".")
        return sa.Table(
            name, sa.MetaData(),
            sa.Column(
                entry.id_column_name, sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), primary_key=True
            ),
            sa.Column(entry.payload_column_name, sa.LargeBinary, nullable=False),
            sa.Column(entry.expire_column_name, sa.BigInteger, index=True),
            schema=schema or None,
        )  # fmt: skip

    def _make(self, table: Table) -> None:
        import sqlalchemy as sa

        try:
            with self._engine.begin() as connection:
                connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
        except sa.exc.SQLAlchemyError as error:
            if sa.inspect(self._engine).has_table(table.name, schema=table.schema):
                return  # another worker has made it at the same time
            problem = translated(error)
            text = f"{self._entry.id}: the table {table.fullname} is not there, and cannot be made: {problem}"
            raise HostError("Unavailable", text, problem.retryable) from error

    @contextmanager
    def _connected(self, *, writes: bool = False) -> Iterator[Connection]:
        """A connection with a transaction of its own."""
        import sqlalchemy

        try:
            with self._engine.begin() as connection:
                yield connection
                if writes:
                    self._check()
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise translated(error) from error

    def _item(self, key: bytes, value: Any) -> Item:
        if not isinstance(value, bytes | memoryview):
            where = f"{self._entry.table_name}.{self._value.name}"
            raise HostError("Internal", f"{where} is no column of bytes: {self._entry.id} has not written this value")
        return Item(key, bytes(value), 0)


def _text(key: bytes) -> str:
    """A key as the column has it."""
    try:
        found = key.decode()
    except UnicodeDecodeError:
        raise HostError("Invalid", "a key of a store.sql is text in UTF-8") from None
    if "\0" in found:
        raise HostError("Invalid", "a key of a store.sql has no zero byte")
    return found


def _behind(prefix: str) -> str:
    """The first text behind all with a prefix; empty: there is none."""
    head = prefix.rstrip("\U0010ffff")
    if not head:
        return ""
    following = ord(head[-1]) + 1
    return head[:-1] + chr(0xE000 if following == 0xD800 else following)  # between them are no characters
