"""Stages: where what is too large for the store is kept."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from orchestration.celery_redis import STORE_SCHEMES
from orchestration.errors import ConfigError, StoreError
from orchestration.store.keys import Keyspace

__all__ = ["Stage", "StageError", "open_stage"]


class StageError(StoreError):
    """A stage does not answer. Later it may: nothing is wrong with the run."""


class Stage(Protocol):
    """A place for bytes, by workflow and digest. Each verb is safe to repeat.

    Attributes:
        name: How messages call it, without secrets.
    """

    name: str

    def put(self, scope: str, digest: str, data: bytes) -> None:
        """Keep bytes, and with them the whole scope until :meth:`expire` is called; on disk when this returns.

        Args:
            scope: Of a workflow id, 64 hexadecimal digits.
            digest: SHA-256 of the bytes, 64 hexadecimal digits.
            data: The bytes.

        Raises:
            StoreError: They could not be kept, however patiently it was tried.
        """

    def get(self, scope: str, digest: str) -> bytes | None:
        """The bytes; None when they are not there.

        Raises:
            StageError: The stage does not answer.
        """

    def expire(self, scope: str, after_ms: int) -> None:
        """Let everything of a scope go after a time."""

    def keep(self, scope: str) -> None:
        """Take back what :meth:`expire` has said."""

    def tidy(self) -> int:
        """Delete some of what has expired; returns how many scopes."""

    def close(self) -> None:
        """Let go of connections."""


def open_stage(
    where: str, keyspace: Keyspace, *, patience_s: float, connect_s: float, now_ms: Callable[[], int]
) -> Stage | None:
    """The stage that the setting ``orchestration_offload`` names; None for none.

    Args:
        where: The setting, checked.
        keyspace: Of the store.
        patience_s: How long it is tried to write, in seconds.
        connect_s: How long to wait for a connection to a Redis, and for what is to be read.
        now_ms: The clock of the store, in milliseconds since the epoch: no host's decides what has expired.

    Raises:
        ConfigError: The folder cannot be made, or not be written to; or the URL cannot be read.
    """
    if not where:
        return None
    scheme = where.partition("://")[0] if "://" in where else ""
    if scheme in STORE_SCHEMES:
        from orchestration.store.offload.redis_hashes import RedisStage

        try:
            return RedisStage(where, keyspace, patience_s=patience_s, connect_s=connect_s)
        except ConfigError:  # it speaks of another setting
            raise ConfigError("orchestration_offload is no URL of a Redis: redis://host:port/database") from None
    from orchestration.store.offload.files import FileStage

    path = urllib.parse.unquote(urllib.parse.urlsplit(where).path) if scheme == "file" else where
    return FileStage(Path(path) / urllib.parse.quote(keyspace.namespace, safe=""), now_ms=now_ms, patience_s=patience_s)
