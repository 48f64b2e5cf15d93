"""A stage in a Redis: one hash for each workflow id, the digest as the field."""

from __future__ import annotations

import re

from orchestration.errors import StoreUnavailableError
from orchestration.store.keys import Keyspace
from orchestration.store.offload.stages import StageError
from orchestration.store.opening import open_connection

__all__ = ["RedisStage"]


class RedisStage:
    """A stage in any Redis, better another one than the store's.

    Args:
        url: As that of the store: one server, Sentinels or a cluster.
        keyspace: Of the store.
        patience_s: How long it is waited for while it is away and something is to be written, in seconds: what is
            given up may be the outcome of an activity.
        connect_s: How long to wait for a connection, and while something is to be read: that can be done again.
    """

    def __init__(self, url: str, keyspace: Keyspace, *, patience_s: float, connect_s: float) -> None:
        self.name = "the Redis " + re.sub(r"(?<=://)[^/@]*@", "", url).partition("?")[0]
        self._keyspace = keyspace
        name = "orchestration-offload"
        self._writing = open_connection(url, patience_s=patience_s, connect_s=connect_s, name=name)
        self._connection = open_connection(url, patience_s=connect_s, connect_s=connect_s, name=name)

    def put(self, scope: str, digest: str, data: bytes) -> None:
        """Keep bytes, and the whole scope with them."""
        key = self._keyspace.offload(scope)
        # In this order: what is there after its lifetime has been taken off stays.
        _, is_there = self._writing.pipeline([["PERSIST", key], ["HEXISTS", key, digest]])
        if not is_there:
            self._writing.pipeline([["HSET", key, digest, data], ["PERSIST", key]])

    def get(self, scope: str, digest: str) -> bytes | None:
        """The bytes; None when they are not there."""
        try:
            data: bytes | None = self._connection.call("HGET", self._keyspace.offload(scope), digest)
        except StoreUnavailableError as error:
            raise StageError(f"{self.name} does not answer: {error}") from error
        return data

    def expire(self, scope: str, after_ms: int) -> None:
        """Let everything of a scope go after a time."""
        self._connection.call("PEXPIRE", self._keyspace.offload(scope), after_ms)

    def keep(self, scope: str) -> None:
        """Take back what :meth:`expire` has said."""
        self._connection.call("PERSIST", self._keyspace.offload(scope))

    def tidy(self) -> int:
        """Nothing to do: Redis deletes."""
        return 0

    def close(self) -> None:
        """Let go of the connections."""
        self._writing.close()
        self._connection.close()
