"""Commands of hashes, lists and sets."""

from __future__ import annotations

from typing import Any

from orchestration.store.memory.commands import OK, Args, Session, command, integer, pairs, slice_of

__all__: list[str] = []

# -- hashes -----------------------------------------------------------------------------------------------------------


@command("HSET", 3)
def _hset(session: Session, args: Args) -> Any:
    given = dict(pairs(args[1:], "hset"))
    fields = session.db.make(args[0], dict)
    new = len(given.keys() - fields.keys())
    fields.update(given)
    return new


@command("HSETNX", 3)
def _hsetnx(session: Session, args: Args) -> Any:
    fields = session.db.make(args[0], dict)
    if args[1] in fields:
        return 0
    fields[args[1]] = args[2]
    return 1


@command("HGET", 2)
def _hget(session: Session, args: Args) -> Any:
    return (session.db.find(args[0], dict) or {}).get(args[1])


@command("HMGET", 2)
def _hmget(session: Session, args: Args) -> Any:
    fields = session.db.find(args[0], dict) or {}
    return [fields.get(name) for name in args[1:]]


@command("HDEL", 2)
def _hdel(session: Session, args: Args) -> Any:
    fields = session.db.find(args[0], dict)
    gone = 0
    if fields is not None:
        for name in args[1:]:
            gone += fields.pop(name, None) is not None
        session.db.tidy(args[0])
    return gone


@command("HGETALL", 1)
def _hgetall(session: Session, args: Args) -> Any:
    return [part for pair in (session.db.find(args[0], dict) or {}).items() for part in pair]


@command("HSCAN", 2)
def _hscan(session: Session, args: Args) -> Any:
    """The whole hash in one page, as Redis does with a small one."""
    return [b"0", _hgetall(session, args[:1])]


@command("HKEYS", 1)
def _hkeys(session: Session, args: Args) -> Any:
    return list(session.db.find(args[0], dict) or {})


@command("HVALS", 1)
def _hvals(session: Session, args: Args) -> Any:
    return list((session.db.find(args[0], dict) or {}).values())


@command("HLEN", 1)
def _hlen(session: Session, args: Args) -> Any:
    return len(session.db.find(args[0], dict) or {})


@command("HEXISTS", 2)
def _hexists(session: Session, args: Args) -> Any:
    return int(args[1] in (session.db.find(args[0], dict) or {}))


@command("HINCRBY", 3)
def _hincrby(session: Session, args: Args) -> Any:
    by = integer(args[2])
    old = (session.db.find(args[0], dict) or {}).get(args[1], b"0")
    number = integer(old, "hash value") + by
    session.db.make(args[0], dict)[args[1]] = b"%d" % number
    return number


# -- lists ------------------------------------------------------------------------------------------------------------


@command("RPUSH", 2)
def _rpush(session: Session, args: Args) -> Any:
    items = session.db.make(args[0], list)
    items.extend(args[1:])
    return len(items)


@command("LPUSH", 2)
def _lpush(session: Session, args: Args) -> Any:
    items = session.db.make(args[0], list)
    items[:0] = reversed(args[1:])
    return len(items)


@command("LLEN", 1)
def _llen(session: Session, args: Args) -> Any:
    return len(session.db.find(args[0], list) or ())


@command("LRANGE", 3)
def _lrange(session: Session, args: Args) -> Any:
    items = session.db.find(args[0], list) or []
    return items[slice_of(len(items), integer(args[1]), integer(args[2]))]


@command("LTRIM", 3)
def _ltrim(session: Session, args: Args) -> Any:
    start, stop = integer(args[1]), integer(args[2])
    items = session.db.find(args[0], list)
    if items is not None:
        items[:] = items[slice_of(len(items), start, stop)]
        session.db.tidy(args[0])
    return OK


@command("LINDEX", 2)
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


@command("LPOP", 1)
def _lpop(session: Session, args: Args) -> Any:
    return _pop(session, args, 0)


@command("RPOP", 1)
def _rpop(session: Session, args: Args) -> Any:
    return _pop(session, args, -1)


# -- sets -------------------------------------------------------------------------------------------------------------


@command("SADD", 2)
def _sadd(session: Session, args: Args) -> Any:
    members = session.db.make(args[0], set)
    before = len(members)
    members.update(args[1:])
    return len(members) - before


@command("SREM", 2)
def _srem(session: Session, args: Args) -> Any:
    members = session.db.find(args[0], set)
    if members is None:
        return 0
    before = len(members)
    members.difference_update(args[1:])
    gone = before - len(members)
    session.db.tidy(args[0])
    return gone


@command("SMEMBERS", 1)
def _smembers(session: Session, args: Args) -> Any:
    return sorted(session.db.find(args[0], set) or ())


@command("SISMEMBER", 2)
def _sismember(session: Session, args: Args) -> Any:
    return int(args[1] in (session.db.find(args[0], set) or ()))


@command("SCARD", 1)
def _scard(session: Session, args: Args) -> Any:
    return len(session.db.find(args[0], set) or ())
