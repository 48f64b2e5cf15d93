"""Commands of sorted sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestration.store.memory.commands import Args, Session, command, integer, pairs, score_of, shown, slice_of
from orchestration.store.memory.data import CommandError, SortedSet

__all__: list[str] = []

Entry = tuple[float, bytes]


def _entries(session: Session, key: bytes) -> list[Entry]:
    found = session.db.find(key, SortedSet)
    return [] if found is None else found.ordered


def _bound(text: bytes) -> tuple[float, bool]:
    """A border of scores, and whether it stands outside."""
    try:
        return (score_of(text[1:]), True) if text[:1] == b"(" else (score_of(text), False)
    except CommandError:
        raise CommandError("ERR min or max is not a float") from None


def _between(low: bytes, high: bytes) -> Callable[[float], bool]:
    least, above = _bound(low)
    most, below = _bound(high)

    def within(score: float) -> bool:
        return (score > least if above else score >= least) and (score < most if below else score <= most)

    return within


def _in_order(low: bytes, high: bytes) -> Callable[[bytes], bool]:
    """Members between two borders of bytes, each ``-``, ``+``, ``[included`` or ``(excluded``."""
    for border in (low, high):
        if border not in (b"-", b"+") and border[:1] not in (b"[", b"("):
            raise CommandError("ERR min or max not valid string range item")

    def within(member: bytes) -> bool:
        after = low == b"-" or (low != b"+" and (member > low[1:] or (low[:1] == b"[" and member == low[1:])))
        before = high == b"+" or (high != b"-" and (member < high[1:] or (high[:1] == b"[" and member == high[1:])))
        return after and before

    return within


def _reply(entries: list[Entry], *, scores: bool) -> list[bytes]:
    if scores:
        return [part for score, member in entries for part in (member, shown(score))]
    return [member for _, member in entries]


def _limited(entries: list[Entry], offset: int, count: int) -> list[Entry]:
    if offset < 0:
        return []
    return entries[offset:] if count < 0 else entries[offset : offset + count]


@command("ZADD", 3)
def _zadd(session: Session, args: Args) -> Any:
    words: set[bytes] = set()
    place = 1
    while place < len(args) and args[place].upper() in (b"NX", b"XX", b"GT", b"LT", b"CH"):
        words.add(args[place].upper())
        place += 1
    if place == len(args) or (len(args) - place) % 2:
        raise CommandError("ERR syntax error")
    scored = [(score_of(score), member) for score, member in pairs(args[place:], "zadd")]
    if session.db.find(args[0], SortedSet) is None and b"XX" in words:
        return 0
    target = session.db.make(args[0], SortedSet)
    new = changed = 0
    for score, member in scored:
        old = target.scores.get(member)
        if (old is None and b"XX" in words) or (old is not None and b"NX" in words):
            continue
        if old is not None and ((b"GT" in words and score <= old) or (b"LT" in words and score >= old)):
            continue
        new += target.put(member, score)
        changed += old != score
    session.db.tidy(args[0])
    return changed if b"CH" in words else new


@command("ZINCRBY", 3)
def _zincrby(session: Session, args: Args) -> Any:
    by = score_of(args[1])
    target = session.db.make(args[0], SortedSet)
    score = target.scores.get(args[2], 0.0) + by
    target.put(args[2], score)
    return shown(score)


@command("ZREM", 2)
def _zrem(session: Session, args: Args) -> Any:
    found = session.db.find(args[0], SortedSet)
    if found is None:
        return 0
    gone = sum(found.take(member) for member in args[1:])
    session.db.tidy(args[0])
    return gone


@command("ZCARD", 1)
def _zcard(session: Session, args: Args) -> Any:
    return len(_entries(session, args[0]))


@command("ZSCORE", 2)
def _zscore(session: Session, args: Args) -> Any:
    found = session.db.find(args[0], SortedSet)
    score = None if found is None else found.scores.get(args[1])
    return None if score is None else shown(score)


@command("ZMSCORE", 2)
def _zmscore(session: Session, args: Args) -> Any:
    return [_zscore(session, (args[0], member)) for member in args[1:]]


@command("ZCOUNT", 3)
def _zcount(session: Session, args: Args) -> Any:
    within = _between(args[1], args[2])
    return sum(within(score) for score, _ in _entries(session, args[0]))


@command("ZRANGE", 3)
def _zrange(session: Session, args: Args) -> Any:
    by_score = by_lex = reverse = scores = False
    limit: tuple[int, int] | None = None
    place = 3
    while place < len(args):
        word = args[place].upper()
        if word == b"LIMIT" and place + 2 < len(args):
            limit = (integer(args[place + 1]), integer(args[place + 2]))
            place += 2
        elif word in (b"BYSCORE", b"BYLEX", b"REV", b"WITHSCORES"):
            by_score, reverse = by_score or word == b"BYSCORE", reverse or word == b"REV"
            by_lex = by_lex or word == b"BYLEX"
            scores = scores or word == b"WITHSCORES"
        else:
            raise CommandError("ERR syntax error")
        place += 1
    entries = _entries(session, args[0])
    if reverse:
        entries = entries[::-1]
    if by_lex:
        if by_score or scores:
            raise CommandError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
        in_order = _in_order(args[2], args[1]) if reverse else _in_order(args[1], args[2])
        return _reply(_limited([e for e in entries if in_order(e[1])], *(limit or (0, -1))), scores=False)
    if not by_score:
        if limit is not None:
            raise CommandError("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
        return _reply(entries[slice_of(len(entries), integer(args[1]), integer(args[2]))], scores=scores)
    within = _between(args[2], args[1]) if reverse else _between(args[1], args[2])
    return _reply(_limited([e for e in entries if within(e[0])], *(limit or (0, -1))), scores=scores)


@command("ZRANGEBYSCORE", 3)
def _zrangebyscore(session: Session, args: Args) -> Any:
    return _zrange(session, (*args[:3], b"BYSCORE", *args[3:]))


@command("ZREVRANGEBYSCORE", 3)
def _zrevrangebyscore(session: Session, args: Args) -> Any:
    return _zrange(session, (*args[:3], b"BYSCORE", b"REV", *args[3:]))


def _lex(low: bytes, high: bytes) -> Callable[[bytes], bool]:
    for border in (low, high):
        if border not in (b"-", b"+") and border[:1] not in (b"[", b"("):
            raise CommandError("ERR min or max not valid string range item")

    def within(member: bytes) -> bool:
        above = low == b"-" or (low != b"+" and (member > low[1:] or (low[:1] == b"[" and member == low[1:])))
        return above and (
            high == b"+" or (high != b"-" and (member < high[1:] or (high[:1] == b"[" and member == high[1:])))
        )

    return within


def _lex_page(session: Session, key: bytes, low: bytes, high: bytes, rest: Args, *, reverse: bool) -> Any:
    within = _lex(low, high)
    limit = (0, -1)
    if rest:
        if len(rest) != 3 or rest[0].upper() != b"LIMIT":
            raise CommandError("ERR syntax error")
        limit = (integer(rest[1]), integer(rest[2]))
    entries = [entry for entry in _entries(session, key) if within(entry[1])]
    return _reply(_limited(entries[::-1] if reverse else entries, *limit), scores=False)


@command("ZRANGEBYLEX", 3)
def _zrangebylex(session: Session, args: Args) -> Any:
    return _lex_page(session, args[0], args[1], args[2], args[3:], reverse=False)


@command("ZREVRANGEBYLEX", 3)
def _zrevrangebylex(session: Session, args: Args) -> Any:
    return _lex_page(session, args[0], args[2], args[1], args[3:], reverse=True)


@command("ZLEXCOUNT", 3)
def _zlexcount(session: Session, args: Args) -> Any:
    within = _lex(args[1], args[2])
    return sum(within(member) for _, member in _entries(session, args[0]))


@command("ZREMRANGEBYRANK", 3)
def _zremrangebyrank(session: Session, args: Args) -> Any:
    start, stop = integer(args[1]), integer(args[2])
    found = session.db.find(args[0], SortedSet)
    if found is None:
        return 0
    gone = [member for _, member in found.ordered[slice_of(len(found), start, stop)]]
    for member in gone:
        found.take(member)
    session.db.tidy(args[0])
    return len(gone)


@command("ZREMRANGEBYSCORE", 3)
def _zremrangebyscore(session: Session, args: Args) -> Any:
    within = _between(args[1], args[2])
    found = session.db.find(args[0], SortedSet)
    if found is None:
        return 0
    gone = [member for score, member in found.ordered if within(score)]
    for member in gone:
        found.take(member)
    session.db.tidy(args[0])
    return len(gone)
