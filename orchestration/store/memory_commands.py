"""The Redis commands that the in-memory twin knows: those of the scripts, of the reading verbs, and their siblings."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from orchestration.store.memory_data import CommandError, Database, MemoryServer, SortedSet, Status

__all__ = ["Session"]

Args = Sequence[bytes]
Handler = Callable[["Session", Args], Any]

_COMMANDS: dict[bytes, tuple[int, Handler]] = {}
_OK = Status(b"OK")
_INTEGER = re.compile(rb"-?(0|[1-9]\d*)\Z")


class Session:
    """One client's state: the database it has selected.

    Args:
        server: Where the databases are.
        number: Of the database at the start.
    """

    def __init__(self, server: MemoryServer, number: int) -> None:
        self.server = server
        self.db: Database = server.database(number)

    def execute(self, name: bytes, args: Args) -> Any:
        """Run one command.

        Returns:
            bytes, int, None, :class:`Status` or a list of these, as the wire protocol (version 2) has them.

        Raises:
            CommandError: It was refused; nothing was written.
        """
        found = _COMMANDS.get(name.upper())
        if found is None:
            raise CommandError(f"ERR unknown command '{name.decode('utf-8', 'replace')}'")
        fewest, handler = found
        if len(args) < fewest:
            raise CommandError(f"ERR wrong number of arguments for '{name.decode().lower()}' command")
        return handler(self, args)


def _command(name: str, fewest: int) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        _COMMANDS[name.encode()] = (fewest, handler)
        return handler

    return register


def integer(text: bytes, what: str = "value") -> int:
    """Read a whole number as strictly as Redis does."""
    if _INTEGER.match(text) and text != b"-0" and -(2**63) <= (number := int(text)) < 2**63:
        return number
    raise CommandError(f"ERR {what} is not an integer" + (" or out of range" if what == "value" else ""))


def _score(text: bytes) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number) or b"_" in text:
        raise CommandError("ERR value is not a valid float")
    return number


def _shown(score: float) -> bytes:
    return b"%.17g" % score


def _pairs(args: Args, name: str) -> list[tuple[bytes, bytes]]:
    if len(args) % 2:
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    return list(zip(args[::2], args[1::2], strict=True))


def _slice(length: int, start: int, stop: int) -> slice:
    start = max(start + length, 0) if start < 0 else start
    stop = stop + length if stop < 0 else stop
    return slice(start, max(stop + 1, start) if stop >= 0 else start)


# -- keys and the server ----------------------------------------------------------------------------------------------


@_command("PING", 0)
def _ping(session: Session, args: Args) -> Any:
    return args[0] if args else Status(b"PONG")


@_command("ECHO", 1)
def _echo(session: Session, args: Args) -> Any:
    return args[0]


@_command("TIME", 0)
def _time(session: Session, args: Args) -> Any:
    now = session.server.now_ms()
    return [b"%d" % (now // 1000), b"%d" % (now % 1000 * 1000)]


@_command("SELECT", 1)
def _select(session: Session, args: Args) -> Any:
    session.db = session.server.database(integer(args[0]))
    return _OK


@_command("PUBLISH", 2)
def _publish(session: Session, args: Args) -> Any:
    return session.server.publish(args[0], args[1])


@_command("FLUSHDB", 0)
def _flushdb(session: Session, args: Args) -> Any:
    session.db.clear()
    return _OK


@_command("DBSIZE", 0)
def _dbsize(session: Session, args: Args) -> Any:
    return len(list(session.db))


@_command("KEYS", 1)
def _keys(session: Session, args: Args) -> Any:
    pattern = args[0].decode("latin-1")
    return [key for key in session.db if fnmatch.fnmatchcase(key.decode("latin-1"), pattern)]


@_command("DEL", 1)
def _del(session: Session, args: Args) -> Any:
    return sum(session.db.value(key) is not None and session.db.drop(key) for key in args)


_COMMANDS[b"UNLINK"] = _COMMANDS[b"DEL"]


@_command("EXISTS", 1)
def _exists(session: Session, args: Args) -> Any:
    return sum(session.db.value(key) is not None for key in args)


@_command("TYPE", 1)
def _type(session: Session, args: Args) -> Any:
    return Status(session.db.kind(args[0]))


@_command("EXPIRE", 2)
def _expire(session: Session, args: Args) -> Any:
    return int(session.db.set_end(args[0], session.server.now_ms() + integer(args[1]) * 1000))


@_command("PEXPIRE", 2)
def _pexpire(session: Session, args: Args) -> Any:
    return int(session.db.set_end(args[0], session.server.now_ms() + integer(args[1])))


@_command("PEXPIREAT", 2)
def _pexpireat(session: Session, args: Args) -> Any:
    return int(session.db.set_end(args[0], integer(args[1])))


@_command("PERSIST", 1)
def _persist(session: Session, args: Args) -> Any:
    return int(session.db.set_end(args[0], None))


@_command("PTTL", 1)
def _pttl(session: Session, args: Args) -> Any:
    if session.db.value(args[0]) is None:
        return -2
    end = session.db.end(args[0])
    return -1 if end is None else end - session.server.now_ms()


@_command("TTL", 1)
def _ttl(session: Session, args: Args) -> Any:
    left = _pttl(session, args)
    return left if left < 0 else (left + 500) // 1000


# -- strings ----------------------------------------------------------------------------------------------------------


@_command("GET", 1)
def _get(session: Session, args: Args) -> Any:
    return session.db.find(args[0], bytes)


@_command("SET", 2)
def _set(session: Session, args: Args) -> Any:
    key, value, rest = args[0], args[1], [arg.upper() for arg in args[2:]]
    end, keep, place = None, False, 0
    only_new, only_old = b"NX" in rest, b"XX" in rest
    while place < len(rest):
        word = rest[place]
        if word in (b"PX", b"EX") and place + 1 < len(rest):
            lifetime = integer(rest[place + 1]) * (1 if word == b"PX" else 1000)
            if lifetime <= 0:
                raise CommandError("ERR invalid expire time in 'set' command")
            end = session.server.now_ms() + lifetime
            place += 1
        elif word == b"KEEPTTL":
            keep = True
        elif word not in (b"NX", b"XX"):
            raise CommandError("ERR syntax error")
        place += 1
    there = session.db.value(key) is not None
    if (only_new and there) or (only_old and not there):
        return None
    session.db.put(key, value, keep_end=keep)
    if end is not None:
        session.db.set_end(key, end)
    return _OK


@_command("INCRBY", 2)
def _incrby(session: Session, args: Args) -> Any:
    number = integer(session.db.find(args[0], bytes) or b"0") + integer(args[1])
    session.db.put(args[0], b"%d" % number, keep_end=True)
    return number


@_command("INCR", 1)
def _incr(session: Session, args: Args) -> Any:
    return _incrby(session, (args[0], b"1"))


# -- hashes -----------------------------------------------------------------------------------------------------------


@_command("HSET", 3)
def _hset(session: Session, args: Args) -> Any:
    pairs = _pairs(args[1:], "hset")
    fields = session.db.make(args[0], dict)
    new = len({name for name, _ in pairs} - fields.keys())
    fields.update(pairs)
    return new


@_command("HSETNX", 3)
def _hsetnx(session: Session, args: Args) -> Any:
    fields = session.db.make(args[0], dict)
    if args[1] in fields:
        return 0
    fields[args[1]] = args[2]
    return 1


@_command("HGET", 2)
def _hget(session: Session, args: Args) -> Any:
    return (session.db.find(args[0], dict) or {}).get(args[1])


@_command("HMGET", 2)
def _hmget(session: Session, args: Args) -> Any:
    fields = session.db.find(args[0], dict) or {}
    return [fields.get(name) for name in args[1:]]


@_command("HDEL", 2)
def _hdel(session: Session, args: Args) -> Any:
    fields = session.db.find(args[0], dict)
    gone = 0
    if fields is not None:
        for name in args[1:]:
            gone += fields.pop(name, None) is not None
        session.db.tidy(args[0])
    return gone


@_command("HGETALL", 1)
def _hgetall(session: Session, args: Args) -> Any:
    return [part for pair in (session.db.find(args[0], dict) or {}).items() for part in pair]


@_command("HKEYS", 1)
def _hkeys(session: Session, args: Args) -> Any:
    return list(session.db.find(args[0], dict) or {})


@_command("HVALS", 1)
def _hvals(session: Session, args: Args) -> Any:
    return list((session.db.find(args[0], dict) or {}).values())


@_command("HLEN", 1)
def _hlen(session: Session, args: Args) -> Any:
    return len(session.db.find(args[0], dict) or {})


@_command("HEXISTS", 2)
def _hexists(session: Session, args: Args) -> Any:
    return int(args[1] in (session.db.find(args[0], dict) or {}))


@_command("HINCRBY", 3)
def _hincrby(session: Session, args: Args) -> Any:
    by = integer(args[2])
    old = (session.db.find(args[0], dict) or {}).get(args[1], b"0")
    number = integer(old, "hash value") + by
    session.db.make(args[0], dict)[args[1]] = b"%d" % number
    return number


# -- lists ------------------------------------------------------------------------------------------------------------


@_command("RPUSH", 2)
def _rpush(session: Session, args: Args) -> Any:
    items = session.db.make(args[0], list)
    items.extend(args[1:])
    return len(items)


@_command("LPUSH", 2)
def _lpush(session: Session, args: Args) -> Any:
    items = session.db.make(args[0], list)
    items[:0] = reversed(args[1:])
    return len(items)


@_command("LLEN", 1)
def _llen(session: Session, args: Args) -> Any:
    return len(session.db.find(args[0], list) or ())


@_command("LRANGE", 3)
def _lrange(session: Session, args: Args) -> Any:
    items = session.db.find(args[0], list) or []
    return items[_slice(len(items), integer(args[1]), integer(args[2]))]


@_command("LTRIM", 3)
def _ltrim(session: Session, args: Args) -> Any:
    start, stop = integer(args[1]), integer(args[2])
    items = session.db.find(args[0], list)
    if items is not None:
        items[:] = items[_slice(len(items), start, stop)]
        session.db.tidy(args[0])
    return _OK


@_command("LINDEX", 2)
def _lindex(session: Session, args: Args) -> Any:
    items, index = session.db.find(args[0], list) or [], integer(args[1])
    return items[index] if -len(items) <= index < len(items) else None


def _pop(session: Session, args: Args, index: int) -> Any:
    items = session.db.find(args[0], list)
    if items is None:
        return None
    item = items.pop(index)
    session.db.tidy(args[0])
    return item


@_command("LPOP", 1)
def _lpop(session: Session, args: Args) -> Any:
    return _pop(session, args, 0)


@_command("RPOP", 1)
def _rpop(session: Session, args: Args) -> Any:
    return _pop(session, args, -1)


# -- sets -------------------------------------------------------------------------------------------------------------


@_command("SADD", 2)
def _sadd(session: Session, args: Args) -> Any:
    members = session.db.make(args[0], set)
    before = len(members)
    members.update(args[1:])
    return len(members) - before


@_command("SREM", 2)
def _srem(session: Session, args: Args) -> Any:
    members = session.db.find(args[0], set)
    if members is None:
        return 0
    before = len(members)
    members.difference_update(args[1:])
    gone = before - len(members)
    session.db.tidy(args[0])
    return gone


@_command("SMEMBERS", 1)
def _smembers(session: Session, args: Args) -> Any:
    return sorted(session.db.find(args[0], set) or ())


@_command("SISMEMBER", 2)
def _sismember(session: Session, args: Args) -> Any:
    return int(args[1] in (session.db.find(args[0], set) or ()))


@_command("SCARD", 1)
def _scard(session: Session, args: Args) -> Any:
    return len(session.db.find(args[0], set) or ())
