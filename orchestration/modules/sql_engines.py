"""Databases of the definitions: one pool of connections for each, in each OS process."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from orchestration.core.lua.host import HostError
from orchestration.registry.kinds.databases import Database, SqliteDatabase
from orchestration.tasks.runtime import Runtime

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

__all__ = ["engine_of", "find_database", "translated"]

_WAIT_S: Final = 30
_DRIVERS: Final = {"postgres": ("psycopg", "psycopg2"), "mysql": ("pymysql", "MySQLdb", "mysqlconnector")}
_SCHEMES: Final = {"postgres": "postgresql", "mysql": "mysql"}

_engines: weakref.WeakKeyDictionary[Runtime, dict[str, Engine]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def find_database(runtime: Runtime, database_id: str) -> Database:
    """The entry of a database.

    Raises:
        HostError: ``NotFound``: there is none, or the entry is something else.
    """
    entry = runtime.registry.find(database_id)
    if not isinstance(entry, Database):
        what = "there is no database" if entry is None else f"it is a {entry.kind}, no database:"
        raise HostError("NotFound", f"{what} {database_id}")
    return entry


def engine_of(runtime: Runtime, entry: Database) -> Engine:
    """The pool of a database, made at first use.

    Raises:
        HostError: ``Internal``: SQLAlchemy, a driver or an environment variable is missing, or the URL is wrong.
    """
    with _lock:
        engines = _engines.setdefault(runtime, {})
        found = engines.get(entry.id)
        if found is None:
            found = engines[entry.id] = _make(entry)
            weakref.finalize(runtime, found.dispose)
        return found


def _make(entry: Database) -> Engine:
    try:
        import sqlalchemy
    except ModuleNotFoundError:
        raise HostError("Internal", "the module sql needs SQLAlchemy: install celery-orchestration[sql]") from None
    try:
        url = _url(entry)
        is_memory = url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")
        pool = entry.pool
        size = 1 if is_memory else min(pool.max_idle, pool.max_open)
        arguments: dict[str, Any] = {"check_same_thread": False} if url.get_backend_name() == "sqlite" else {}
        engine = sqlalchemy.create_engine(
            url, poolclass=sqlalchemy.QueuePool, pool_size=size, max_overflow=0 if is_memory else pool.max_open - size,
            pool_recycle=-1 if is_memory else max(pool.max_lifetime // 1000, 1), pool_timeout=_WAIT_S,
            pool_pre_ping=not is_memory, hide_parameters=True, connect_args=arguments,
        )  # fmt: skip
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise HostError("Internal", f"the database {entry.id} cannot be opened: {error}") from error
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine)
    return engine


def _permits(action: int, first: str | None, *_more: str | None) -> int:
    """SQLite's question whether a statement may do something: not reach other files, by ATTACH or VACUUM INTO."""
    is_file = action == sqlite3.SQLITE_ATTACH and first not in ("", ":memory:")
    return sqlite3.SQLITE_DENY if is_file else sqlite3.SQLITE_OK


def _set_up_sqlite(engine: Engine) -> None:
    """Keep code to the file of the entry, and have a transaction begin with BEGIN.

    The driver's own beginning leaves out reads and definitions.

    Source: SQLAlchemy's documentation of its pysqlite dialect, 'Serializable isolation, savepoints'.
    """
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.set_authorizer(_permits)

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")


def _url(entry: Database) -> URL:
    import sqlalchemy

    given = _field(entry, "url")
    options = {str(name): str(value) for name, value in entry.options.items()}
    if given:
        url = sqlalchemy.make_url(given)
        return url.update_query_dict(options) if options else url
    if isinstance(entry, SqliteDatabase):
        return sqlalchemy.URL.create("sqlite", database=_field(entry, "file"), query=options)
    port = _field(entry, "port")
    if isinstance(port, str) and not port.isdecimal():
        raise HostError("Internal", f"the port of {entry.id} is no number")
    return sqlalchemy.URL.create(
        f"{_SCHEMES[entry.DIALECT]}+{_driver(entry)}", username=_field(entry, "username"),
        password=_field(entry, "password"), host=_field(entry, "host"), port=int(port) if port else None,
        database=_field(entry, "database"), query=options,
    )  # fmt: skip


def _driver(entry: Database) -> str:
    import importlib.util

    for name in _DRIVERS[entry.DIALECT]:
        module = "mysql.connector" if name == "mysqlconnector" else name
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            return name
    raise HostError(
        "Internal", f"{entry.id}: no driver for {entry.DIALECT} is installed; install {_DRIVERS[entry.DIALECT][0]}"
    )


def _field(entry: Database, name: str) -> Any:
    variable = getattr(entry, f"{name}_env", None)
    if variable:
        value = os.environ.get(variable)
        if value is None:
            raise HostError("Internal", f"{entry.id}: the environment variable {variable} is not set")
        return value
    return getattr(entry, name, None)


def translated(error: Exception) -> HostError:
    """What went wrong, as an error for Lua; without the statement and its values."""
    import sqlalchemy.exc as sa

    if isinstance(error, sa.TimeoutError):
        return HostError("Unavailable", f"no connection became free within {_WAIT_S} s", retryable=True)
    original = getattr(error, "orig", None)
    text = str(original if original is not None else error)
    code = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or ""
    if getattr(original, "sqlite_errorname", "") == "SQLITE_AUTH":
        return HostError("PermissionDenied", "a statement may not open other files: give each an entry db.sql.sqlite")
    if isinstance(error, sa.IntegrityError):
        numbers = getattr(original, "args", ())
        unique = code == "23505" or (numbers and numbers[0] == 1062) or "UNIQUE constraint" in text
        return HostError("AlreadyExists" if unique else "Invalid", text)
    if isinstance(error, sa.OperationalError):
        if type(original).__module__.startswith("sqlite3"):
            away = ("locked", "busy", "unable to open", "disk I/O", "readonly")
            if not any(word in text for word in away):
                return HostError("Invalid", text)  # such as a table that is not there
        return HostError("Unavailable", text, retryable=True)
    if isinstance(error, sa.DBAPIError) and error.connection_invalidated:
        return HostError("Unavailable", text, retryable=True)
    if isinstance(error, sa.ProgrammingError | sa.DataError | sa.InterfaceError | sa.ArgumentError):
        return HostError("Invalid", text)
    return HostError("Internal", text)
