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


COMMANDS = [
    ("HSET", "h", "a", 1, "b", b"\xff"), ("HSET", "h", "a", 2, "a", 3), ("HSET", "h", "a"), ("HSETNX", "h", "a", 9),
    ("HSETNX", "h", "n", 9), ("HGET", "h", "a"), ("HGET", "h", "x"), ("HGET", "no", "x"), ("HMGET", "h", "a", "x"),
    ("HGETALL", "h"), ("HGETALL", "no"), ("HKEYS", "h"), ("HVALS", "h"), ("HLEN", "h"), ("HEXISTS", "h", "a"),
    ("HINCRBY", "h", "a", 5), ("HINCRBY", "h", "b", 1), ("HINCRBY", "h", "a", "x"), ("HINCRBY", "h", "new", -3),
    ("HDEL", "h", "a", "x"), ("LPUSH", "h", "x"), ("GET", "h"), ("ZADD", "h", 1, "a"), ("SADD", "h", "a"),
    ("RPUSH", "l", "a", "b", "c", "d"), ("LPUSH", "l", "z", "y"), ("LLEN", "l"), ("LRANGE", "l", 0, -1),
    ("LRANGE", "l", 1, 2), ("LRANGE", "l", -2, 100), ("LRANGE", "l", 5, 1), ("LRANGE", "l", -100, -5),
    ("LRANGE", "no", 0, -1), ("LINDEX", "l", -1), ("LINDEX", "l", 99), ("LTRIM", "l", 1, -2), ("LRANGE", "l", 0, -1),
    ("LPOP", "l"), ("RPOP", "l"), ("LTRIM", "l", 5, -1), ("EXISTS", "l"), ("LTRIM", "no", 0, 1), ("LPOP", "no"),
    ("SADD", "s", "a", "b", "a"), ("SADD", "s", "a"), ("SREM", "s", "a", "x"), ("SMEMBERS", "s"), ("SCARD", "s"),
    ("SISMEMBER", "s", "b"), ("SREM", "s", "b"), ("EXISTS", "s", "h", "h"), ("SMEMBERS", "s"), ("SREM", "no", "b"),
    ("ZADD", "z", 3, "c", 1, "a", 1, "b"), ("ZADD", "z", 2, "a"), ("ZADD", "z", "CH", 9, "a", 7, "x"),
    ("ZADD", "z", "NX", 1, "a"), ("ZADD", "z", "XX", 1, "q"), ("ZADD", "z", "LT", 99, "a"), ("ZADD", "z", "LT", 4, "a"),
    ("ZADD", "z", "GT", "CH", 5, "a"), ("ZADD", "z", "LT", 8, "new"), ("ZADD", "z", "x", "m"), ("ZADD", "z", 1),
    ("ZADD", "z", "inf", "top"), ("ZADD", "z", "nan", "m"), ("ZADD", "none", "XX", 1, "a"), ("EXISTS", "none"),
    ("ZINCRBY", "z", 1.5, "a"), ("ZSCORE", "z", "a"), ("ZSCORE", "z", "no"), ("ZSCORE", "no", "no"), ("ZCARD", "z"),
    ("ZADD", "z", 1700000000123, "t"), ("ZRANGE", "z", 0, -1, "WITHSCORES"), ("ZRANGE", "z", 1, 2),
    ("ZRANGE", "z", 0, 1, "REV"), ("ZRANGE", "z", "(1", "+inf", "BYSCORE", "LIMIT", 1, 2),
    ("ZRANGE", "z", "+inf", "-inf", "BYSCORE", "REV", "LIMIT", 0, 2, "WITHSCORES"), ("ZRANGE", "z", 0, 1, "LIMIT", 0, 1),
    ("ZRANGEBYSCORE", "z", "-inf", "(6.5"), ("ZRANGEBYSCORE", "z", 1, 3, "WITHSCORES", "LIMIT", 0, 1),
    ("ZRANGEBYSCORE", "z", "x", 3), ("ZRANGEBYSCORE", "no", 1, 3), ("ZREVRANGEBYSCORE", "z", 7, 1), ("ZCOUNT", "z", 1, 7),
    ("ZREMRANGEBYSCORE", "z", 1, 3), ("ZREMRANGEBYRANK", "z", 0, 0), ("ZREMRANGEBYRANK", "z", -1, -1),
    ("ZREM", "z", "a", "x"), ("ZRANGE", "z", 0, -1, "WITHSCORES"), ("ZREM", "no", "x"), ("ZREMRANGEBYRANK", "no", 0, 1),
    ("SET", "k", "v"), ("SET", "k", "w", "NX"), ("SET", "k2", "w", "XX"), ("SET", "k", "v", "PX", 90_000), ("GET", "k"),
    ("PERSIST", "k"), ("PERSIST", "k"), ("PTTL", "k"), ("PTTL", "no"), ("SET", "k", "v", "PX", 0), ("SET", "k", "v", "X"),
    ("EXPIRE", "k", 90), ("SET", "k", "v", "KEEPTTL"), ("TTL", "k"), ("SET", "k", "v"), ("TTL", "k"), ("INCR", "k"),
    ("INCR", "n"), ("INCRBY", "n", 41), ("PEXPIRE", "n", -1), ("EXISTS", "n"), ("PEXPIRE", "no", 5), ("TYPE", "h"),
    ("TYPE", "no"), ("DEL", "k", "no"), ("UNLINK", "h"), ("PUBLISH", "c", "m"), ("PING",), ("ECHO", "x"), ("NOPE", "x"),
    ("GET",), ("LINDEX", "z", 0), ("HGETALL", "z"), ("LRANGE", "z", 0, 1), ("ZRANGE", "l2", 0, 1), ("SELECT", 99),
]  # fmt: skip


def test_commands_answer_alike(both: tuple[Backend, MemoryConnection]) -> None:
    redis, memory = both
    for command in COMMANDS:
        assert _answer(memory, *command) == _answer(redis.connection, *command), command
    redis.close()


BODIES = [
    "return 1.9", "return -1.9", "return 'text'", "return true", "return false", "return nil", "return {}", "return {a = 1}",
    "return {1, 2.5, 'x', false, {'y', nil, 'z'}, nil, 3}", "return redis.status_reply('fine')", "return {ok = 'fine'}",
    "return tostring(1e14) .. ' ' .. tostring(2^53) .. ' ' .. tostring(0.1)", "return 10 / 4 .. ''", "return #KEYS + #ARGV",
    "return {KEYS[1], ARGV[1], ARGV[2]}", "return redis.call('ECHO', 2^53)", "return redis.call('ECHO', 0.1)",
    "return redis.call('ECHO', 1e15 + 0.5)", "return redis.call('TYPE', 'no')['ok']", "return type(redis.call('GET', 'no'))",
    "return redis.call('SET', 'a', 'b')", "return redis.call('HMGET', 'no', 'a', 'b')", "return redis.call('ZSCORE', 'no', 'm')",
    "redis.call('ZADD', 'q', 1700000000123, 'm', 1.5, 'n') return redis.call('ZRANGE', 'q', 0, -1, 'WITHSCORES')",
    "return redis.pcall('HGET', 'a', 'b')['err'] ~= nil", "return type(redis.pcall('HGET', 'a', 'b'))",
    "return pcall(redis.call, 'HGET', 'a', 'b')", "return select('#', unpack({1, 2, 3}))", "return string.format('%.0f', 2^53)",
    "return cmsgpack.pack({1, 'a', {b = true}, 1.5, 0.1, -1, 2^40, -2^63, 2^63, 1/0})", "return cmsgpack.pack({1, nil, 3})",
    "return cmsgpack.pack(string.rep('x', 31)) .. cmsgpack.pack(string.rep('x', 32)) .. cmsgpack.pack(string.rep('x', 256))",
    "return cmsgpack.pack({}) .. cmsgpack.pack(true, false, nil) .. cmsgpack.pack({[0] = 1})",
    "return cmsgpack.unpack('\\204\\255')", "return #cmsgpack.unpack(cmsgpack.pack({1, {2, 3}, 'x'}))",
    "local a, b = cmsgpack.unpack('\\001\\161x') return {a, b}", "return cmsgpack.unpack('\\207\\255\\255\\255\\255\\255\\255\\255\\255')",
    "return cmsgpack.unpack(cmsgpack.pack({a = 'b'})).a", "redis.call('SELECT', 1) return redis.call('SET', 'other', 1)",
    "return math.floor(-0.5)", "return {string.byte('\\255\\000')}", "return table.concat({1, 2.5, 'x'}, ',')",
]  # fmt: skip
FAILING = [
    "return redis.error_reply('ERR broken')", "return {err = 'ERR broken'}", "return redis.call('HGET', 'a', 'b')",
    "return redis.pcall('HGET', 'a', 'b')", "x = 1", "return y", "error('stop')", "return nil + 1", "return redis.call()",
    "return redis.call('NOPE')", "return redis.call('GET')", "return redis.call('GET', true)", "return redis.call('GET', {})",
    "return redis.call('GET', nil)", "return redis.call('SELECT', 99)", "not lua", "return io.open('x')", "return os.exit()",
    "return cmsgpack.unpack('\\196\\001x')", "return cmsgpack.unpack('\\146\\001')", "return cmsgpack.unpack('\\193')",
    "return cmsgpack.unpack('\\213\\001xx')", "return unpack({}, 1, 9000)", "return require('x')", "return python",
]  # fmt: skip


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
    for value in (None, True, [1], {}):
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
