"""The Redis commands that the in-memory twin knows: those of the scripts, of the reading verbs, and their siblings."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from orchestration.store.memory.data import CommandError, Database, MemoryServer, Status

__all__ = ["OK", "Args", "Session", "command", "integer", "pairs", "score_of", "shown", "slice_of"]

Args = Sequence[bytes]
Handler = Callable[["Session", Args], Any]

_COMMANDS: dict[bytes, tuple[int, Handler]] = {}
OK = Status(b"OK")
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


def command(name: str, fewest: int) -> Callable[[Handler], Handler]:
    """Make a function the handler of a command with at least so many arguments."""

    def register(handler: Handler) -> Handler:
        _COMMANDS[name.encode()] = (fewest, handler)
        return handler

    return register


def integer(text: bytes, what: str = "value") -> int:
    """Read a whole number as strictly as Redis does."""
    if _INTEGER.match(text) and text != b"-0" and -(2**63) <= (number := int(text)) < 2**63:
        return number
    raise CommandError(f"ERR {what} is not an integer" + (" or out of range" if what == "value" else ""))


def score_of(text: bytes) -> float:
    """Read a score."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number) or b"_" in text:
        raise CommandError("ERR value is not a valid float")
    return number


def shown(score: float) -> bytes:
    """Write a score as a reply does."""
    return b"%.17g" % score


def pairs(args: Args, name: str) -> list[tuple[bytes, bytes]]:
    """Arguments two by two."""
    if len(args) % 2:
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    return list(zip(args[::2], args[1::2], strict=True))


def slice_of(length: int, start: int, stop: int) -> slice:
    """A range of places, as LRANGE means it, in a list of this length."""
    start = max(start + length, 0) if start < 0 else start
    stop = stop + length if stop < 0 else stop
    return slice(start, max(stop + 1, start) if stop >= 0 else start)


# -- keys and the server ----------------------------------------------------------------------------------------------


@command("PING", 0)
def _ping(session: Session, args: Args) -> Any:
    return args[0] if args else Status(b"PONG")


@command("ECHO", 1)
def _echo(session: Session, args: Args) -> Any:
    return args[0]


@command("TIME", 0)
def _time(session: Session, args: Args) -> Any:
    now = session.server.now_ms()
    return [b"%d" % (now // 1000), b"%d" % (now % 1000 * 1000)]


@command("SELECT", 1)
def _select(session: Session, args: Args) -> Any:
    session.db = session.server.database(integer(args[0]))
    return OK


@command("PUBLISH", 2)
def _publish(session: Session, args: Args) -> Any:
    return session.server.publish(args[0], args[1])


@command("FLUSHDB", 0)
def _flushdb(session: Session, args: Args) -> Any:
    session.db.clear()
    return OK


@command("DBSIZE", 0)
def _dbsize(session: Session, args: Args) -> Any:
    return len(list(session.db))


@command("KEYS", 1)
def _keys(session: Session, args: Args) -> Any:
    pattern = args[0].decode("latin-1")
    return [key for key in session.db if fnmatch.fnmatchcase(key.decode("latin-1"), pattern)]


@command("DEL", 1)
def _del(session: Session, args: Args) -> Any:
    return sum(session.db.value(key) is not None and session.db.drop(key) for key in args)


_COMMANDS[b"UNLINK"] = _COMMANDS[b"DEL"]


@command("EXISTS", 1)
def _exists(session: Session, args: Args) -> Any:
    return sum(session.db.value(key) is not None for key in args)


@command("TYPE", 1)
def _type(session: Session, args: Args) -> Any:
    return Status(session.db.kind(args[0]))


@command("EXPIRE", 2)
def _expire(session: Session, args: Args) -> Any:
    return int(session.db.set_end(args[0], session.server.now_ms() + integer(args[1]) * 1000))


@command("PEXPIRE", 2)
def _pexpire(session: Session, args: Args) -> Any:
    return int(session.db.set_end(args[0], session.server.now_ms() + integer(args[1])))


@command("PEXPIREAT", 2)
def _pexpireat(session: Session, args: Args) -> Any:
    return int(session.db.set_end(args[0], integer(args[1])))


@command("PERSIST", 1)
def _persist(session: Session, args: Args) -> Any:
    return int(session.db.set_end(args[0], None))


@command("PTTL", 1)
def _pttl(session: Session, args: Args) -> Any:
    if session.db.value(args[0]) is None:
        return -2
    end = session.db.end(args[0])
    return -1 if end is None else end - session.server.now_ms()


@command("TTL", 1)
def _ttl(session: Session, args: Args) -> Any:
    left = _pttl(session, args)
    return left if left < 0 else (left + 500) // 1000


# -- strings ----------------------------------------------------------------------------------------------------------


@command("GET", 1)
def _get(session: Session, args: Args) -> Any:
    return session.db.find(args[0], bytes)


@command("SET", 2)
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
    return OK


@command("INCRBY", 2)
def _incrby(session: Session, args: Args) -> Any:
    number = integer(session.db.find(args[0], bytes) or b"0") + integer(args[1])
    session.db.put(args[0], b"%d" % number, keep_end=True)
    return number


@command("INCR", 1)
def _incr(session: Session, args: Args) -> Any:
    return _incrby(session, (args[0], b"1"))
