"""The module ``sql``: queries and transactions in the databases of the definitions.

A connection is taken from the pool for one statement, or for one transaction, which its holder's end rolls back. It is
used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from orchestration.core.lua.host import HostError
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import require
from orchestration.modules.sql_engines import engine_of, find_database, translated
from orchestration.modules.sql_statements import bind
from orchestration.modules.verbs import verb
from orchestration.registry.kinds.databases import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult

__all__: list[str] = []

_KEPT: Final = "sql"
_MOST_TRANSACTIONS: Final = 16
_SAVEPOINTS: Final = {"set": "SAVEPOINT", "rollback": "ROLLBACK TO SAVEPOINT", "release": "RELEASE SAVEPOINT"}
_numbers = itertools.count(1)
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Transaction:
    """A connection in the hands of one caller."""

    def __init__(self, entry: Database, connection: Connection) -> None:
        self.entry = entry
        self.connection = connection
        self.lock = threading.Lock()
        self.savepoints: list[str] = []  # by age; what the database knows them by is their place
        self.is_open = True

    def end(self, how: str) -> None:
        """Commit or roll back, and give the connection back."""
        self.is_open = False
        try:
            getattr(self.connection, how)()
        finally:
            self.connection.close()


def _plain_errors(function: _Function) -> _Function:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except HostError:
            raise
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "sqlalchemy":
                raise
            raise translated(error) from error

    return call  # type: ignore[return-value]


@verb("sql.get", quick=True)
def get(caller: Caller, database_id: str) -> str:
    """Check that there is such a database; answers its dialect."""
    require(caller, "db.get", database_id)
    return find_database(caller.runtime, database_id).DIALECT


@verb("sql.query")
@_plain_errors
def query(caller: Caller, where: str | int, statement: str, values: Any) -> list[dict[str, Any]]:
    """Run a statement and answer its rows."""
    with _connection(caller, where) as (entry, connection):
        return _rows(entry, _run(caller, connection, statement, values))


@verb("sql.execute")
@_plain_errors
def execute(caller: Caller, where: str | int, statement: str, values: Any) -> dict[str, Any]:
    """Run a statement and answer how many rows it changed."""
    with _connection(caller, where) as (_, connection):
        result = _run(caller, connection, statement, values)
        done: dict[str, Any] = {"rows_affected": max(result.rowcount, 0)}
        with contextlib.suppress(Exception):  # not every driver has it
            if isinstance(result.lastrowid, int):
                done["last_insert_id"] = result.lastrowid
        return done


@verb("sql.begin")
@_plain_errors
def begin(caller: Caller, database_id: str, isolation: str | None) -> int:
    """Begin a transaction; answers its number."""
    if not isinstance(isolation, str | None):
        raise HostError("Invalid", "isolation must be one of sql.isolation")
    entry = find_database(caller.runtime, database_id)
    mine = _transactions(caller)
    if len(mine) >= _MOST_TRANSACTIONS:
        raise HostError("RateLimited", f"more than {_MOST_TRANSACTIONS} transactions at once: end some")
    connection = engine_of(caller.runtime, entry).connect()
    try:
        if isolation is not None:
            connection = connection.execution_options(isolation_level=isolation)
        connection.begin()
    except BaseException:
        connection.close()
        raise
    number = next(_numbers)
    mine[number] = _Transaction(entry, connection)
    if caller.is_over or caller.kept.get(_KEPT) is not mine:  # it ended meanwhile
        _roll_back_all(mine)
        raise _over()
    return number


@verb("sql.end")
@_plain_errors
def end(caller: Caller, number: int, how: str) -> bool:
    """Commit or roll back a transaction."""
    found = _find(caller, number)
    with found.lock:
        if not found.is_open:
            raise _over()
        if how == "commit":
            try:
                caller.check()
            except BaseException:
                found.end("rollback")
                raise
        _transactions(caller).pop(number, None)
        found.end(how)
    return True


@verb("sql.savepoint")
@_plain_errors
def savepoint(caller: Caller, number: int, how: str, name: str) -> bool:
    """Set a savepoint, go back to one, or forget it."""
    found = _find(caller, number)
    with found.lock:
        if not found.is_open:
            raise _over()
        points = found.savepoints
        if (name in points) == (how == "set"):
            known = "AlreadyExists" if how == "set" else "NotFound"
            raise HostError(known, f"there is {'a' if how == 'set' else 'no'} savepoint {name!r}")
        place = len(points) if how == "set" else points.index(name)
        found.connection.exec_driver_sql(f"{_SAVEPOINTS[how]} sp_{place}")
        if how == "set":
            points.append(name)
        else:  # going back to one keeps it, and forgets those after it
            del points[place + (how == "rollback") :]
    return True


@contextmanager
def _connection(caller: Caller, where: str | int) -> Iterator[tuple[Database, Connection]]:
    """The connection of a transaction, or one for this statement alone, whose work is kept if it succeeds."""
    if isinstance(where, int):
        found = _find(caller, where)
        with found.lock:
            if not found.is_open:
                raise _over()
            yield found.entry, found.connection
        return
    entry = find_database(caller.runtime, where)
    with engine_of(caller.runtime, entry).begin() as connection:
        yield entry, connection


def _run(caller: Caller, connection: Connection, statement: str, values: Any) -> CursorResult[Any]:
    unwrapped: Any
    if isinstance(values, dict):
        unwrapped = {name: _value(name, wrapped) for name, wrapped in values.items()}
    else:
        unwrapped = [_value(number, wrapped) for number, wrapped in enumerate(values or [], 1)]
    dialect = connection.dialect
    if not isinstance(statement, str):
        raise HostError("Invalid", "a statement is text in UTF-8; other bytes go into parameters")
    text, bound = bind(statement, unwrapped, paramstyle=dialect.paramstyle, backslashes=dialect.name == "mysql")
    caller.check()
    return connection.exec_driver_sql(text, bound)


def _value(name: str | int, wrapped: list[Any]) -> Any:
    value = wrapped[0] if wrapped else None
    if value is not None and not isinstance(value, str | bytes | int | float):
        raise HostError("Invalid", f"the value {name} is a table: send it as JSON text")
    return value


def _rows(entry: Database, result: CursorResult[Any]) -> list[dict[str, Any]]:
    if not result.returns_rows:
        return []
    rows = result.mappings().fetchmany(entry.row_limit + 1)
    if len(rows) > entry.row_limit:
        raise HostError("Invalid", f"the query has more than {entry.row_limit} rows: ask for fewer, with LIMIT")
    return [{str(name): value for name, value in row.items() if value is not None} for row in rows]


def _transactions(caller: Caller) -> dict[int, _Transaction]:
    found: dict[int, _Transaction] | None = caller.kept.get(_KEPT)
    if found is None:
        found = caller.kept[_KEPT] = {}
        caller.at_end.append(lambda: _let_go(caller))
    return found


def _let_go(caller: Caller) -> None:
    """Roll back what is left, in another thread: a statement may be at work, and whoever ends processes cannot wait."""
    left: dict[int, _Transaction] = caller.kept.pop(_KEPT, {})
    if left:
        threading.Thread(target=_roll_back_all, args=(left,), name="sql rollback", daemon=True).start()


def _roll_back_all(transactions: dict[int, _Transaction]) -> None:
    while True:
        try:
            _, left = transactions.popitem()
        except KeyError:
            return
        with left.lock, contextlib.suppress(Exception):  # the connection may be gone, and the transaction with it
            if left.is_open:
                left.end("rollback")


def _find(caller: Caller, number: int) -> _Transaction:
    found = _transactions(caller).get(number)
    if found is None:
        raise _over()
    return found


def _over() -> HostError:
    return HostError("Invalid", "the transaction is over")
