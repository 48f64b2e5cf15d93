"""What the scripts say of themselves: headers read as data, and which keys a body writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

from orchestration.store.scripts import load_script, script_names

__all__ = ["Header", "read_header", "written_keys"]

_LINE = re.compile(r"-- (KEYS|ARGV)\[(\d+)(\+?)\]\s+(\S+)\s+(string|hash|list|set|zset|int|bytes)\b[ ]*(.*)")
_WRITES = re.compile(
    r"redis\.call\('(?:HSET|HSETNX|HDEL|HINCRBY|RPUSH|LTRIM|SET|DEL|PERSIST|PEXPIRE|ZADD|ZREM|ZREMRANGEBYRANK|SADD|SREM)',"
    r"\s*([^)]*)"
)


@dataclass(frozen=True)
class Header:
    """Head of a script.

    Attributes:
        keys: Name, type and pattern of each key, in order.
        args: Name of each argument, in order.
        more: Whether the last argument may be repeated.
        statuses: The first words of its answers.
    """

    keys: tuple[tuple[str, str, str], ...]
    args: tuple[str, ...]
    more: bool
    statuses: frozenset[str]


def source_of(name: str) -> str:
    """The script as it stands in its file."""
    return (resources.files("orchestration.store") / "redis_lua" / f"{name}.lua").read_text("utf-8")


def head_and_body(name: str) -> tuple[str, str]:
    """Comment at the top, and the rest with what it includes."""
    head = re.match(r"(?:--.*\n)+", source_of(name))
    assert head is not None
    text = head[0]
    return text.partition("-- @include")[0], load_script(name).source[len(text.partition("-- @include")[0]) :]


def read_header(name: str) -> Header:
    """Read the head of a script; places must count 1, 2, 3 ..."""
    head, _ = head_and_body(name)
    assert head.startswith(f"-- {name}: "), f"{name}.lua begins with its name and what it does"
    keys: list[tuple[str, str, str]] = []
    args: list[str] = []
    more = False
    for kind, place, plus, called, of_type, rest in _LINE.findall(head):
        into: list[object] = keys if kind == "KEYS" else args  # type: ignore[assignment]
        into.append((called, of_type, rest.split("; ")[0].strip()) if kind == "KEYS" else called)
        assert int(place) == len(into), f"{name}: {kind}[{place}] is out of order"
        more = more or bool(plus)
    assert "-- Returns  " in head, f"{name}: the header says what it returns"
    returns = head.partition("-- Returns  ")[2].partition("-- Holds")[0].partition("-- Cost")[0]
    return Header(tuple(keys), tuple(args), more, frozenset(re.findall(r'\{"(\w+)"', returns)))


def used_places(name: str, table: str) -> set[int]:
    """Places of KEYS or ARGV that a body reads."""
    _, body = head_and_body(name)
    body = re.sub(r"--.*", "", _called(body))
    places = {int(place) for place in re.findall(rf"{table}\[(\d+)\]", body)}
    if table == "KEYS" and "close_keys(KEYS)" in body:
        places |= {int(place) for place in re.findall(r"\bkeys\[(\d+)\]", body)}
    return places


def _called(source: str) -> str:
    """A body without the included functions that it never calls."""
    pieces = re.split(r"(?m)^(?=local function |-- @end|local \w)", source)
    while True:
        kept = []
        for piece in pieces:
            defined = re.match(r"local function (\w+)", piece)
            others = "".join(other for other in pieces if other is not piece)
            if defined is None or re.search(rf"\b{defined[1]}\(", others):
                kept.append(piece)
        if len(kept) == len(pieces):
            return "".join(kept)
        pieces = kept


def written_keys(name: str) -> set[str]:
    """Names of the keys, as the header calls them, that a body writes."""
    _, body = head_and_body(name)
    named = {called for called, _, _ in read_header(name).keys}
    written: set[str] = set()
    for first in _WRITES.findall(_called(body)):
        if "DEL" in first:
            continue
        for argument in re.findall(r"(?:keys\.)?\b(\w+)\b", first.split("'")[0]):
            if argument in named:
                written.add(argument)
                break
    if "redis.call('DEL', keys.open, keys.inbox)" in body and "inbox" in named:
        written.add("inbox")
    return written


assert script_names()
