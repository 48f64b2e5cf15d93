"""Opens the store that a URL names."""

from __future__ import annotations

from orchestration.store.addresses import read_address
from orchestration.store.cluster import ClusterConnection
from orchestration.store.connection import RedisConnection

__all__ = ["open_connection"]


def open_connection(
    url: str, *, patience_s: float = 30.0, connect_s: float = 5.0, name: str = "orchestration"
) -> RedisConnection | ClusterConnection:
    """A connection to one Redis, to a master that Sentinels name, or to a cluster; nothing is connected yet.

    Args:
        url: As :func:`orchestration.store.addresses.read_address` reads it.
        patience_s: How long a command is repeated while the server is away, in seconds.
        connect_s: How long to wait for a connection; twice as long for an answer.
        name: Shown in ``CLIENT LIST``.

    Raises:
        ConfigError: The URL is none.
    """
    address = read_address(url)
    kind = ClusterConnection if address.kind == "cluster" else RedisConnection
    return kind(address, patience_s=patience_s, connect_s=connect_s, name=name)
