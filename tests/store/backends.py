"""The two servers that the store's tests run over, with what tests need of both: time that passes, and a dump."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgpack
import pytest

from orchestration.errors import StoreError
from orchestration.store.addresses import read_address
from orchestration.store.base import StoreOptions, pack_for_script
from orchestration.store.cluster import ClusterConnection
from orchestration.store.connection import Connection, RedisConnection
from orchestration.store.keys import Keyspace
from orchestration.store.memory import MemoryConnection
from orchestration.store.scripts import Script
from orchestration.store.store import Store
from tests.store.invariants import check_invariants
from tests.support.redis_servers import Cluster

__all__ = ["OF_ACTORS", "OF_SCHEDULE", "OF_SHARD", "OF_STORE", "Backend", "ClusterBackend", "MemoryBackend",
           "RedisBackend"]  # fmt: skip

_READ: dict[str, tuple[Any, ...]] = {
    "string": ("GET",), "hash": ("HGETALL",), "list": ("LRANGE", 0, -1), "set": ("SMEMBERS",),
    "zset": ("ZRANGE", 0, -1, "WITHSCORES"),
}  # fmt: skip

Dump = dict[str, tuple[str, Any, bool]]
"""For each key: type, contents, whether it has a lifetime."""

OF_SHARD = {
    "bundles", "timers", "handed", "ready", "pending", "frontier", "leftovers", "outbox", "outbox-due", "open-runs",
    "closed-runs", "parked-runs", "index", "types", "ended", "unarchived", "schedules", "schedules-due",
    "shown",
}  # fmt: skip
"""Keys that stay: one of each for a shard, whose members come and go."""

OF_STORE = {"meta", "workers", "consumers"}
OF_ACTORS = {
    "nodes", "names", "store", "store-keys", "store-ends", "store-versions", "services", "service-wishes",
    "service",
}  # fmt: skip
OF_SCHEDULE = {"<schedule id>"}
"""Last words of the keys that stay as long as a schedule does."""
_OF_OPEN_RUN = {"run", "extra", "hist", "inbox", "open", "updates"}
_KEY = re.compile(r"orc:\{default\.\d+\}:([a-z-]+)(?::(.*))?\Z", re.DOTALL)


class Backend:
    """A store over a server.

    Args:
        connection: To the server.
        shards: Of the store.
        options: Times and bounds.
    """

    def __init__(self, connection: Connection, *, shards: int = 1, options: StoreOptions | None = None) -> None:
        self.connection = connection
        self.keyspace = Keyspace("orc", "default", shards)
        self.store = Store(connection, self.keyspace, options)
        self.store.open()

    def call(self, *command: Any) -> Any:
        return self.connection.call(*command)

    def at(self, database: int) -> Connection:
        """Another database of the same server."""
        raise NotImplementedError

    def pass_time(self, ms: int) -> None:
        """Let time go by, as the scripts see it."""
        raise NotImplementedError

    def now_ms(self) -> int:
        seconds, micros = self.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def close(self) -> None:
        """Give the connection back."""

    def dump(self) -> Dump:
        found: Dump = {}
        for key in self.call("KEYS", "*"):
            kind = self.call("TYPE", key).decode()
            name, *rest = _READ[kind]
            content: Any = self.call(name, key, *rest)
            if kind == "zset":
                content = dict(content)
            found[key.decode("utf-8", "surrogateescape")] = (kind, content, self.call("PTTL", key) >= 0)
        return found

    @contextmanager
    def unchanged(self, *counters: str) -> Iterator[None]:
        """Check that a refusal leaves every key as it is, but for these counters in the run's record."""
        before = _without(self.dump(), counters)
        yield
        assert _without(self.dump(), counters) == before

    def check(self) -> None:
        """Every key left has a lifetime or is meant to stay; the invariants hold."""
        dump = self.dump()
        open_runs = {
            key.rpartition(":")[2]
            for key, (_, fields, _) in dump.items()
            if ":run:" in key and fields.get(b"status") in (b"running", b"parked", b"paused")
        }
        for key, (_, content, has_lifetime) in dump.items():
            if not has_lifetime and not key.startswith("broker"):
                assert _may_stay(key, content, open_runs, dump), f"{key} stays for ever: {content!r}"
            name = key.rpartition(":")[2]
            if name in ("timers", "handed", "ready", "pending", "open-runs", "parked-runs"):
                for member in content:
                    assert member.decode().partition("/")[0] in open_runs, f"{key} names a run that ended: {member!r}"
            if name in ("outbox", "outbox-due"):
                other = dump.get(key.removesuffix("-due") if name == "outbox-due" else f"{key}-due", ("", {}, False))
                assert set(content) == set(other[1]), f"{key} and its counterpart differ"
        check_invariants(dump)


def _may_stay(key: str, content: Any, open_runs: set[str], dump: Dump) -> bool:
    if key.startswith("orc:{default.p}:service:"):
        return key.rpartition(":service:")[2].encode() in dump["orc:{default.p}:services"][1]
    if key.startswith("orc:{default.p}:"):
        return key.removeprefix("orc:{default.p}:").partition(":")[0] in OF_ACTORS
    if key.startswith("orc:default:"):
        return key.removeprefix("orc:default:") in OF_STORE
    match = _KEY.match(key)
    if match is None:
        return False
    kind, rest = match[1], match[2]
    if kind in _OF_OPEN_RUN:
        kept = dump.get(key.partition(":" + kind + ":")[0] + ":unarchived", ("", {}, False))[1]
        return rest in open_runs or rest.encode() in kept
    if kind == "wf":
        return content[b"run"].decode() in open_runs
    if kind == "sch":
        return rest.encode() in dump[key.rpartition(":sch:")[0] + ":schedules"][1]
    if kind == "bundle":
        return rest.encode() in dump[key.rpartition(":bundle:")[0] + ":bundles"][1]
    return rest is None and kind in OF_SHARD


def _without(dump: Dump, counters: tuple[str, ...]) -> Dump:
    names = {counter.encode() for counter in counters}
    return {
        key: (kind, {n: v for n, v in content.items() if n not in names}, ttl)
        if ":run:" in key and isinstance(content, Mapping)
        else (kind, content, ttl)
        for key, (kind, content, ttl) in dump.items()
    }


class MemoryBackend(Backend):
    """The store in memory; its clock is moved by hand."""

    def __init__(self, *, database: int = 0, **options: Any) -> None:
        self.time_ms = 1_700_000_000_000
        self.memory = MemoryConnection(lambda: self.time_ms, database=database)
        super().__init__(self.memory, **options)

    def at(self, database: int) -> Connection:
        return self.memory.at(database)

    def pass_time(self, ms: int) -> None:
        self.time_ms += ms


def _earlier(member: bytes, ms: int) -> bytes:
    """A member of the index, of a run that started earlier."""
    started = int.from_bytes(member[-21:-15], "big") - ms
    return member[:-21] + started.to_bytes(6, "big") + member[-15:]


class RedisBackend(Backend):
    """A real Redis. Its clock cannot be moved: what is stored gets older instead.

    Args:
        url: Of a database of the test's own.
        options: As the base has them.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._others: list[RedisConnection] = []
        self.passed_ms = 0
        self.redis = self._connect()
        super().__init__(self.redis, **options)

    def _connect(self) -> Any:
        return RedisConnection(self._url, patience_s=1)

    def at(self, database: int) -> Connection:
        other = RedisConnection(f"{self._url.rpartition('/')[0]}/{database}", patience_s=1)
        self._others.append(other)
        other.call("FLUSHDB")
        return other

    def pass_time(self, ms: int) -> None:
        self.passed_ms += ms
        for key, (kind, content, has_lifetime) in self.dump().items():
            if key.startswith("broker"):
                continue
            if key.endswith(":index"):
                self.call("ZREM", key, *content)
                self.call("ZADD", key, *[part for member in content for part in (0, _earlier(member, ms))])
            elif key.endswith(":ended"):
                for run, packed in content.items():
                    members = msgpack.unpackb(packed, raw=True)
                    self.call("HSET", key, run, pack_for_script([_earlier(member, ms) for member in members]))
            elif kind == "zset" and not key.endswith(":schedules") and ":store-keys:" not in key:
                for member, score in content.items():
                    self.call("ZADD", key, int(score) - ms, member)
            elif kind == "hash" and ":run:" in key:
                for field in (b"until", b"time", b"started", b"closed", b"expires"):
                    if int(content.get(field, 0)):
                        self.call("HSET", key, field, int(content[field]) - ms)
            elif kind == "hash" and ":service:" in key:
                for field in (b"since", b"due"):
                    if int(content.get(field, 0)):
                        self.call("HSET", key, field, int(content[field]) - ms)
            elif kind == "hash" and key.endswith(":frontier"):
                for queue, sent in content.items():
                    self.call("HSET", key, queue, int(sent) - ms)
            if has_lifetime:
                left = self.call("PTTL", key) - ms
                self.call("DEL", key) if left <= 0 else self.call("PEXPIRE", key, left)

    def close(self) -> None:
        for connection in (self.redis, *self._others):
            connection.close()


class _WithoutBroker(ClusterConnection):
    """Ends a test that gives messages to a script: no broker is on a cluster, and the script is refused as a whole."""

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        try:
            return super().run(script, keys, args)
        except StoreError as error:
            if "non local key" in str(error) and any(isinstance(arg, bytes) and b"broker" in arg for arg in args):
                pytest.skip("scripts on a cluster give out no messages of a broker")
            raise


class ClusterBackend(RedisBackend):
    """A real cluster: the keys of a shard are on one node, whichever that is."""

    def __init__(self, cluster: Cluster, **options: Any) -> None:
        for node in cluster.nodes:
            node.ask("FLUSHALL")
        super().__init__(cluster.url, **options)

    def _connect(self) -> Any:
        return _WithoutBroker(read_address(self._url), patience_s=10)

    def call(self, *command: Any) -> Any:
        if command[0] != "KEYS":
            return super().call(*command)
        return [key for node in self.redis.each_node() for key in node.execute_command(*command)]

    def at(self, database: int) -> Connection:
        pytest.skip("a cluster has one database")
