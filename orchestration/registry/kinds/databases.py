"""Relational databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from orchestration.registry.entry import Entry, Link
from orchestration.registry.fields import FrozenMap, Integer, Name, PositiveDurationMs, Text, fault, record
from orchestration.registry.kinds.lifecycle import Lifecycle

__all__ = ["ConnectionPool", "Database", "MysqlDatabase", "PostgresDatabase", "SqliteDatabase"]


def _port(value: object) -> object:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise fault("is no port", "write a number of 1 to 65535")
    return value


def _no_secret(value: str) -> str:
    scheme, found, _ = value.partition("://")
    if not found or not scheme:
        raise fault("is no URL of a database", "write it as SQLAlchemy does, such as postgresql://host/name")
    return value


Port = Annotated[int, BeforeValidator(_port), WithJsonSchema({"type": ["integer", "string"]})]
Url = Annotated[Text, AfterValidator(_no_secret)]


@record
class ConnectionPool:
    """How many connections an OS process keeps.

    Attributes:
        max_open: Most connections at once; who wants another waits for up to 30 s.
        max_idle: Most that are kept open while nobody uses them.
        max_lifetime: Age in milliseconds from which one is closed when it comes back.
    """

    max_open: Integer = Field(default=10, ge=1, le=1000)
    max_idle: Integer = Field(default=5, ge=1, le=1000)
    max_lifetime: PositiveDurationMs = 3_600_000


@record
class Database(Entry):
    """A database that ``sql.get`` opens.

    A field whose name ends in ``_env`` names an environment variable that has the value; it wins over the field.

    Attributes:
        url: As SQLAlchemy writes it; with it nothing else about the place counts.
        options: Further parameters of the connection URL.
        row_limit: Most rows of one query; more are an error.
    """

    DIALECT: ClassVar[str] = ""

    url: Url | None = Field(default=None, repr=False)
    url_env: Name | None = None
    options: FrozenMap = Field(default_factory=dict)
    pool: ConnectionPool = Field(default_factory=ConnectionPool)
    row_limit: Integer = Field(default=10_000, ge=1, le=1_000_000)
    lifecycle: Lifecycle = Field(default_factory=Lifecycle)

    def links(self) -> Iterator[Link]:
        """References to other entries."""
        yield from self.lifecycle.links()


@record
class ServerDatabase(Database):
    """A database of a server, by its parts or by a URL."""

    host: Name | None = None
    host_env: Name | None = None
    port: Port | None = None
    port_env: Name | None = None
    database: Name | None = None
    database_env: Name | None = None
    username: Name | None = None
    username_env: Name | None = None
    password: Text | None = Field(default=None, repr=False)
    password_env: Name | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> Any:
        if not (self.url or self.url_env or self.host or self.host_env):
            raise fault("names no server", "give it a host and a database, or a url")
        return self


@record
class PostgresDatabase(ServerDatabase):
    """A PostgreSQL database."""

    DIALECT: ClassVar[str] = "postgres"


@record
class MysqlDatabase(ServerDatabase):
    """A MySQL or MariaDB database."""

    DIALECT: ClassVar[str] = "mysql"


@record
class SqliteDatabase(Database):
    """A file of SQLite.

    Attributes:
        file: Its path, or ``:memory:`` for one that lives as long as the OS process.
    """

    DIALECT: ClassVar[str] = "sqlite"

    file: Name | None = None
    file_env: Name | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> Any:
        if not (self.url or self.url_env or self.file or self.file_env):
            raise fault("names no file", "give it a file, or a url")
        return self
