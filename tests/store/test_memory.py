"""The twin in memory answers as Redis does: commands, replies of scripts, msgpack, errors."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from orchestration.errors import StoreError
from orchestration.store.memory import MemoryConnection
from orchestration.store.memory.cmsgpack import unpack
from orchestration.store.scripts import Script
from tests.store.backends import Backend, RedisBackend
from tests.store.redis_cases import BODIES, COMMANDS, FAILING
from tests.support import wait_until


def script(source: str) -> Script:
    return Script("a_script", source, hashlib.sha1(source.encode()).hexdigest())


@pytest.fixture
def both(redis_url: str) -> tuple[Backend, MemoryConnection]:
    return RedisBackend(redis_url), MemoryConnection(database=0)


def _answer(connection: Any, *command: Any) -> Any:
    try:
        return connection.call(*command)
    except StoreError:
        return "refused"


def test_commands_answer_alike(both: tuple[Backend, MemoryConnection]) -> None:
    redis, memory = both
    for command in COMMANDS:
        assert _answer(memory, *command) == _answer(redis.connection, *command), command
    redis.close()


@pytest.mark.parametrize("body", BODIES)
def test_scripts_answer_alike(both: tuple[Backend, MemoryConnection], body: str) -> None:
    redis, memory = both
    for connection in (redis.connection, memory):
        connection.call("SET", "a", "string")
    given = (["key"], [b"\xff", 1.5])
    assert memory.run(script(body), *given) == redis.connection.run(script(body), *given)
    redis.close()


@pytest.mark.parametrize("body", FAILING)
def test_scripts_fail_alike(both: tuple[Backend, MemoryConnection], body: str) -> None:
    redis, memory = both
    for connection in (redis.connection, memory):
        connection.call("SET", "a", "string")
        with pytest.raises(StoreError, match="Redis refused a_script: "):
            connection.run(script(body), ["key"], [])
    redis.close()


def test_a_failed_script_leaves_the_next_one_alone() -> None:
    memory = MemoryConnection()
    with pytest.raises(StoreError):
        memory.run(script("redis.call('SELECT', 1) error('stop')"), [], [])
    assert memory.run(script("redis.call('SET', KEYS[1], 1) return 'fine'"), ["a"], []) == [b"fine"]
    assert memory.call("GET", "a") == b"1"
    assert memory.at(1).call("GET", "a") is None


def test_what_the_client_cannot_send_is_refused_before_anything_runs() -> None:
    memory = MemoryConnection()
    refused: list[Any] = [None, True, [1], {}]
    for value in refused:
        with pytest.raises(TypeError):
            memory.call("SET", "a", value)
        with pytest.raises(TypeError):
            memory.run(script("redis.call('SET', 'a', 1)"), [], [value])
    assert memory.call("EXISTS", "a") == 0


def test_a_clock_that_is_moved_ends_lifetimes() -> None:
    now = [1_000_000]
    memory = MemoryConnection(lambda: now[0])
    memory.call("SET", "a", "x", "PX", 500)
    memory.call("RPUSH", "l", "x")
    memory.call("EXPIRE", "l", 1)
    assert memory.call("PTTL", "a") == 500
    now[0] += 499
    assert memory.call("GET", "a") == b"x"
    now[0] += 1
    assert memory.call("GET", "a") is None
    assert memory.call("KEYS", "*") == [b"l"]
    now[0] += 500
    assert memory.call("DBSIZE") == 0
    assert memory.call("TIME") == (1001, 0)


def test_time_stands_still_in_a_script() -> None:
    ticks = iter(range(1_000, 10_000))
    memory = MemoryConnection(lambda: next(ticks))
    first, second = memory.run(script("return {redis.call('TIME')[2], redis.call('TIME')[2]}"), [], [])
    assert first == second


def test_connections_of_one_server_meet() -> None:
    memory, other = MemoryConnection(), MemoryConnection()
    assert memory.server_id() == memory.at(5).server_id() != other.server_id()
    assert memory.at(5).database == 5
    memory.at(5).call("SET", "a", 1)
    assert memory.call("EXISTS", "a") == 0
    assert memory.at(5).call("GET", "a") == b"1"
    with pytest.raises(ValueError, match="64"):
        memory.at(64)


def test_a_subscription_hears_what_is_published(both: tuple[Backend, MemoryConnection]) -> None:
    redis, memory = both
    for connection in (redis.connection, memory):
        waiting = connection.subscribe("c")
        assert not waiting.wait(0)
        wait_until(lambda connection=connection: connection.call("PUBLISH", "c", "one") == 1)  # type: ignore[misc]
        assert waiting.wait(5)
        assert not waiting.wait(0.01)
        waiting.close()
        wait_until(lambda connection=connection: connection.call("PUBLISH", "c", "two") == 0)  # type: ignore[misc]
    redis.close()


def test_msgpack_of_any_form_is_read() -> None:
    packed = bytes.fromhex(
        "c0c2c301ffca3fc00000cb3ff8000000000000ccffcdffffceffffffffd0ffd1ffffd2ffffffffd3ffffffffffffffff"
    )
    assert unpack(packed) == (
        None, False, True, 1, -1, 1.5, 1.5, 255, 65535, 4294967295, -1, -1, -1, -1,
    )  # fmt: skip
    assert unpack(bytes.fromhex("a161d90161da000161db0000000161")) == (b"a",) * 4
    assert unpack(bytes.fromhex("9101dc000101dd00000001018101a162de00010102df000000010102")) == (
        [1], [1], [1], {1: b"b"}, {1: 2}, {1: 2},
    )  # fmt: skip
