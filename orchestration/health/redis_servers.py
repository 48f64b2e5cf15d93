"""Checks of the Redis that keeps the runs, and of those that serve as broker and result backend."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from orchestration.errors import OrchestrationError
from orchestration.health.facts import Facts
from orchestration.health.findings import Note, Severity
from orchestration.tasks.self_report import location

__all__ = ["eviction", "latency", "memory", "persistence", "replication", "scripts", "version"]

_OLDEST: Final = (6, 2)
_PINGS: Final = 20
_SLOW_MS: Final = 5.0
_TOO_SLOW_MS: Final = 50.0
_FULL: Final = 0.8
_TOO_FULL: Final = 0.95


def _info(facts: Facts, section: str) -> dict[str, Mapping[str, Any]]:
    """INFO of each server of the store, by name; one server has the store's own location."""
    found = facts.runtime.connection.call("INFO", section)
    if not isinstance(found, Mapping):
        raise OrchestrationError(f"INFO {section} was answered with {type(found).__name__}, not with facts")
    if found and all(isinstance(value, Mapping) for value in found.values()):  # Redis Cluster: one for each node
        return {str(name): value for name, value in found.items()}
    return {location(facts.settings.redis_url): found}


def version(facts: Facts) -> Iterator[Note]:
    """Old servers miss commands that the scripts use."""
    for server, info in _info(facts, "server").items():
        name = "Valkey" if info.get("valkey_version") or info.get("server_name") == "valkey" else "Redis"
        # Valkey says which Redis it is like.
        text = str(info.get("redis_version", "0"))
        numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
        shown = str(info.get("valkey_version") or text)
        if numbers < _OLDEST:
            yield Note(
                Severity.ERROR, server, f"it is {name} {shown}; the scripts need Redis 6.2 or any Valkey",
                "upgrade the server",
            )  # fmt: skip
        else:
            yield Note(Severity.OK, server, f"{name} {shown}")


def eviction(facts: Facts) -> Iterator[Note]:
    """A server that evicts keys drops histories, messages and results without a word."""
    for server, info in _info(facts, "memory").items():
        yield _eviction_of(server, info, "runs, histories and timers")
    for what, loses, call in _other_servers(facts):
        yield _eviction_of(what, call("INFO", "memory"), loses)


def _eviction_of(server: str, info: Mapping[str, Any], loses: str) -> Note:
    policy, limit = str(info.get("maxmemory_policy", "")), int(info.get("maxmemory", 0) or 0)
    if policy == "noeviction":
        return Note(Severity.OK, server, "maxmemory-policy is noeviction")
    if not policy:
        return Note(Severity.NOTICE, server, "it does not say its maxmemory-policy", "make sure that it is noeviction")
    cure = "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf or with the provider"
    if limit:
        return Note(Severity.ERROR, server, f"maxmemory-policy is {policy}: a full server drops {loses}", cure)
    text = f"maxmemory-policy is {policy}: once it has a maxmemory, a full server drops {loses}"
    return Note(Severity.WARNING, server, text, cure)


def _other_servers(facts: Facts) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Redis servers of the broker and of the results, where those are not the store's."""
    mine = facts.runtime.connection.server_id()
    app = facts.app
    if facts.transport == "redis":
        connection = app.connection_for_write(transport_options=_in_time(facts))
        try:
            broker = connection.default_channel.client
            if str(broker.info("server").get("run_id", "")) != mine:
                yield "broker", "task messages", broker.execute_command
        finally:
            connection.release()
    client: Any = getattr(app.backend, "client", None)
    is_redis = "redis" in type(app.backend).__module__ and client is not None
    if is_redis and str(client.info("server").get("run_id", "")) != mine:
        yield "result backend", "results and the counters of chords", client.execute_command


def _in_time(facts: Facts) -> dict[str, Any]:
    """The broker's own options, with limits to how long an answer may take."""
    given = dict(facts.app.conf.broker_transport_options or {})
    return {**given, "socket_timeout": facts.timeout_s, "socket_connect_timeout": facts.timeout_s}


def persistence(facts: Facts) -> Iterator[Note]:
    """Runs are as durable as the Redis they are in."""
    for server, info in _info(facts, "persistence").items():
        yield from _persistence_of(facts, server, info)


def _persistence_of(facts: Facts, server: str, info: Mapping[str, Any]) -> Iterator[Note]:
    aof = int(info.get("aof_enabled", 0) or 0)
    if str(info.get("rdb_last_bgsave_status", "ok")) != "ok":
        yield Note(
            Severity.ERROR, server, "the last snapshot (BGSAVE) failed: Redis may refuse every write",
            "read the server's log; most often the disk is full, or a fork finds no memory (vm.overcommit_memory=1)",
        )  # fmt: skip
    if aof and str(info.get("aof_last_write_status", "ok")) != "ok":
        yield Note(
            Severity.ERROR, server, "the last write to the append-only file failed",
            "read the server's log; mend its disk"
        )
    if aof:
        fsync = _config(facts, "appendfsync")
        loss = {
            "always": "a crash of the machine loses nothing", "everysec": "a crash of the machine loses up to a second",
            "no": "a crash of the machine loses what the system had not written, up to half a minute",
        }.get(fsync or "", "how often it is synced is not known")  # fmt: skip
        text = f"append-only file, appendfsync {fsync or 'not told'}: {loss}"
        if fsync == "no":
            yield Note(Severity.WARNING, server, text, "CONFIG SET appendfsync everysec")
        else:
            yield Note(Severity.OK, server, text)
        return
    cure = "CONFIG SET appendonly yes, and the same in redis.conf or with the provider"
    save = _config(facts, "save")
    if save is None:
        text = "no append-only file: a crash of Redis loses the steps since its last snapshot, if it makes any"
    elif save:
        text = f"no append-only file, only snapshots ({save}): a crash of Redis loses the steps since the last one"
    else:
        text = "nothing is written to disk: a restart of Redis loses every run"
    yield Note(Severity.WARNING, server, text, cure)


def _config(facts: Facts, name: str) -> str | None:
    """A setting of the server; None when it does not tell."""
    try:
        found = facts.runtime.connection.call("CONFIG", "GET", name)
    except OrchestrationError:  # managed servers refuse CONFIG
        return None
    if isinstance(found, Mapping):
        for key, value in found.items():
            if _text(key) == name:
                return _text(value)
        return None
    return _text(found[1]) if found else None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def memory(facts: Facts) -> Iterator[Note]:
    """A full server refuses writes: runs stand still until there is room."""
    for server, info in _info(facts, "memory").items():
        used, limit = int(info.get("used_memory", 0) or 0), int(info.get("maxmemory", 0) or 0)
        if not limit:
            yield Note(Severity.OK, server, f"{_size(used)} used, no maxmemory: the machine's memory is the limit")
            continue
        text = f"{_size(used)} of {_size(limit)} used ({used / limit:.0%})"
        cure = "raise maxmemory, shorten orchestration_retention_ms, or move large values out (orchestration_offload)"
        if used > _TOO_FULL * limit:
            text = f"{text}: when it is full, writes are refused, and runs stand still"
            yield Note(Severity.ERROR, server, text, cure)
        elif used > _FULL * limit:
            yield Note(Severity.WARNING, server, text, cure)
        else:
            yield Note(Severity.OK, server, text)


def _size(count: int) -> str:
    return f"{count / 1024**2:,.1f} MiB"


def replication(facts: Facts) -> Iterator[Note]:
    """What a failover would lose."""
    for server, info in _info(facts, "replication").items():
        role, replicas = str(info.get("role", "master")), int(info.get("connected_slaves", 0) or 0)
        if role != "master" and ":" not in str(info.get("cluster", "")) and len(_info(facts, "replication")) == 1:
            yield Note(
                Severity.ERROR, server, "it is a replica: it refuses every write",
                "let orchestration_redis_url name the master, or the sentinels",
            )  # fmt: skip
            continue
        lost = [
            str(name) for name, value in info.items()
            if str(name).startswith("slave") and isinstance(value, Mapping) and value.get("state") != "online"
        ]  # fmt: skip
        if lost:
            yield Note(
                Severity.WARNING, server, f"{len(lost)} of {replicas} replicas are not online",
                "a failover to one of them would lose runs: look after it",
            )  # fmt: skip
        least = _config(facts, "min-replicas-to-write")
        if replicas and least in ("0", None):
            yield Note(
                Severity.NOTICE, server,
                f"{replicas} replicas, min-replicas-to-write {least or 'not told'}: a failover loses what they had "
                "not got",
                "where that matters, CONFIG SET min-replicas-to-write 1",
            )  # fmt: skip
        elif not lost:
            yield Note(Severity.OK, server, f"{replicas} replicas" if replicas else "a single server, no replicas")


def scripts(facts: Facts) -> Iterator[Note]:
    """Every step is a script."""
    where = location(facts.settings.redis_url)
    key = facts.store.keyspace.meta
    try:
        packed = facts.runtime.connection.call("EVAL", "return #cmsgpack.pack({redis.call('EXISTS', KEYS[1])})", 1, key)
    except OrchestrationError as error:
        yield Note(
            Severity.ERROR, where, f"it refuses to run scripts: {error}",
            "let the user of orchestration_redis_url run EVAL, EVALSHA and SCRIPT, on keys "
            f"{facts.settings.key_prefix}:*",
        )  # fmt: skip
        return
    assert int(packed) > 0
    yield Note(Severity.OK, where, "scripts run")


def latency(facts: Facts) -> Iterator[Note]:
    """A step is two round trips."""
    call, taken = facts.runtime.connection.call, []
    for _ in range(_PINGS):
        begun = time.perf_counter()
        call("PING")
        taken.append((time.perf_counter() - begun) * 1000)
    median = statistics.median(taken)
    text = f"median of {_PINGS} round trips {median:.1f} ms, longest {max(taken):.1f} ms"
    cure = "bring workers and Redis closer together; look for slow commands (SLOWLOG GET) and for a busy machine"
    severity = Severity.OK
    if median > _SLOW_MS:
        severity = Severity.WARNING if median > _TOO_SLOW_MS else Severity.NOTICE
    yield Note(severity, location(facts.settings.redis_url), text, cure if severity is not Severity.OK else "")
