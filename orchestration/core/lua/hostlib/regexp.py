"""Regular expressions for the Lua module ``text``: RE2, so the time is linear in pattern and text.

Finding *all* matches may still be quadratic (each search may run to the end of the text before it settles for a
short match), so the work of a call is counted and bounded.

Source: Go ``regexp`` (regexp.go: allMatches, ReplaceAll, Split, expand), which the results follow.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import re2

from orchestration.core.lua.host import Encoded, HostError, host_function
from orchestration.core.lua.hostlib.values import Value, as_bytes, limited

__all__ = ["Pattern", "Scan", "compile_pattern"]

_MOST_MEMORY = 4 * 1024 * 1024
"""What RE2 may use for one expression; as many are kept as `compile_pattern` says."""

_MOST_PATTERN_BYTES = 8 * 1024
_MOST_TEXT_BYTES = 1024 * 1024
_MOST_RESULT_BYTES = 4 * 1024 * 1024
_MOST_MATCHES = 100_000
_MOST_SCANNED_BYTES = 1_000_000_000
_MOST_STATES_BYTES = 500_000_000
_ATOM = r"(?:\\[dDsSwWtnrfv.,;:/|+*?(){}\[\]^$-]|\[\^?[^\[\]\\]+\]|[^\\.\[\](){}*+?|^$])"
_LOCAL = re.compile(rf"{_ATOM}*(?:{_ATOM}[+*])?", re.DOTALL)
"""Expressions whose search ends where the match ends: single characters, of which the last may repeat."""

_GROUP_NAME = re.compile(rb"\(\?P?<([A-Za-z_][A-Za-z0-9_]*)>")
_NAME = re.compile(rb"\$(?:\$|([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})")


class Pattern:
    """One compiled expression.

    Args:
        source: The expression, in RE2 syntax.

    Raises:
        HostError: ``Invalid`` when RE2 refuses it.
    """

    def __init__(self, source: bytes) -> None:
        limited(source, _MOST_PATTERN_BYTES, "regexp: the pattern")
        names = _GROUP_NAME.findall(source)
        if len(set(names)) != len(names):
            raise HostError("Invalid", "regexp: two groups have the same name")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MOST_MEMORY
        try:
            self._compiled: Any = re2.compile(source, options)
        except re2.error as error:
            reason = error.args[0] if error.args else b"cannot be compiled"
            text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
            raise HostError("Invalid", f"regexp: {text}") from error
        self._size: int = self._compiled.programsize
        self.is_local = _LOCAL.fullmatch(source.decode(errors="replace")) is not None
        self.groups: int = self._compiled.groups
        self._names: dict[bytes, int] = dict(self._compiled.groupindex)

    def names(self) -> list[bytes]:
        """Give the names of the groups; the first is that of the whole match, empty, like those without a name."""
        found = [b""] * (self.groups + 1)
        for name, index in self._names.items():
            found[index] = name
        return found

    def first(self, text: bytes) -> list[tuple[int, int]] | None:
        """Give the spans of the leftmost match and of its groups, (-1, -1) for a group that took no part.

        Raises:
            HostError: ``Invalid`` when the text is too large for the expression.
        """
        self.check(text)
        return self.search(text, 0)

    def check(self, text: bytes) -> None:
        """Refuse a text that this expression may take too long for."""
        limited(text, _MOST_TEXT_BYTES, "regexp: the text")
        if self._size * len(text) > _MOST_STATES_BYTES:
            raise HostError("Invalid", f"regexp: the pattern is too complex for a text of {len(text)} bytes")

    def search(self, text: bytes, start: int) -> list[tuple[int, int]] | None:
        """Like `first`, from a position on, of a text that was checked."""
        match = self._compiled.search(text, start)
        return None if match is None else [match.span(group) for group in range(self.groups + 1)]

    def group(self, name: bytes) -> int:
        """Give the number of a group by its name or number; -1 when there is none."""
        index = int(name) if name.isdigit() and len(name) < 6 else self._names.get(name, -1)
        return index if 0 <= index <= self.groups else -1


class Scan:
    """All matches of an expression in one text.

    Attributes:
        scanned: Bytes that had to be looked at so far, at most: what the work is to be charged by.
    """

    def __init__(self, pattern: Pattern, text: bytes) -> None:
        pattern.check(text)
        self._pattern = pattern
        self._text = text
        self.scanned = 0

    def matches(self, most: int = -1) -> Iterator[list[tuple[int, int]]]:
        """Give the matches from left to right, none overlapping, no empty one right behind another.

        Raises:
            HostError: ``Invalid`` when there are too many, or finding them is too much work.
        """
        text = self._text
        position, behind, found = 0, -1, 0
        while position <= len(text) and (most < 0 or found < most):
            if found > _MOST_MATCHES or self.scanned > _MOST_SCANNED_BYTES:
                raise HostError("Invalid", f"regexp: too many matches in a text of {len(text)} bytes")
            spans = self._pattern.search(text, position)
            if spans is None:
                self.scanned += len(text) - position
                return
            start, end = spans[0]
            self.scanned += (end if self._pattern.is_local else len(text)) - position + 200
            is_taken = True
            if end == position:
                is_taken = start != behind
                position += _rune_width(text, position)
            else:
                position = end
            behind = end
            if is_taken:
                found += 1
                yield spans

    def texts(self) -> list[bytes]:
        """Give the texts of all matches."""
        return [_cut(self._text, spans[0]) for spans in self.matches()]

    def replace(self, template: bytes) -> bytes:
        """Replace every match; ``$1``, ``${1}``, ``$name`` and ``$$`` are expanded."""
        out: list[bytes] = []
        done = size = 0
        for spans in self.matches():
            start, end = spans[0]
            piece = self._expand(template, spans)
            size += start - done + len(piece)
            if size > _MOST_RESULT_BYTES:
                raise HostError("Invalid", f"regexp: the result is larger than {_MOST_RESULT_BYTES} bytes")
            out += (self._text[done:start], piece)
            done = end
        out.append(self._text[done:])
        return b"".join(out)

    def _expand(self, template: bytes, spans: list[tuple[int, int]]) -> bytes:
        if b"$" not in template:
            return template

        def value(found: re.Match[bytes]) -> bytes:
            name = found[1] or found[2]
            if name is None:
                return b"$"
            index = self._pattern.group(name)
            return _cut(self._text, spans[index]) if index >= 0 else b""

        return _NAME.sub(value, template)

    def split(self, most: int = -1) -> list[bytes]:
        """Cut the text at the matches, into at most `most` pieces; negative means all, 0 none."""
        if most == 0:
            return []
        if not self._text:
            return [b""]
        pieces: list[bytes] = []
        begin = end = 0
        for spans in self.matches(most):
            if 0 < most == len(pieces) + 1:
                break
            end = spans[0][0]
            if spans[0][1] != 0:
                pieces.append(self._text[begin:end])
            begin = spans[0][1]
        if end != len(self._text):
            pieces.append(self._text[begin:])
        return pieces


def _cut(text: bytes, span: tuple[int, int]) -> bytes:
    return text[span[0] : span[1]] if span[0] >= 0 else b""


def _rune_width(text: bytes, position: int) -> int:
    """Tell how many bytes the character at `position` has; 1 where there is none."""
    lead = text[position] if position < len(text) else 0
    if lead < 0xC2 or lead > 0xF4:
        return 1
    width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    try:
        text[position : position + width].decode()
    except UnicodeDecodeError:
        return 1
    return width


@functools.lru_cache(maxsize=32)
def compile_pattern(source: bytes) -> Pattern:
    """Compile an expression, or give the one compiled lately."""
    return Pattern(source)


def _scan(pattern: Value, text: Value) -> tuple[Scan, bytes]:
    data = as_bytes(text)
    return Scan(compile_pattern(as_bytes(pattern)), data), data


def _texts(parts: list[bytes]) -> Value:
    """Give byte strings as Lua strings."""
    return [_text(part) for part in parts]


def _text(part: bytes) -> Value:
    try:
        return part.decode()
    except UnicodeDecodeError:
        return part


@host_function("regexp.compile")
def _compile(pattern: Value) -> Value:
    compiled = compile_pattern(as_bytes(pattern))
    return [compiled.groups, _texts(compiled.names())]


@host_function("regexp.match")
def _match(pattern: Value, text: Value) -> Value:
    return compile_pattern(as_bytes(pattern)).first(as_bytes(text)) is not None


@host_function("regexp.find")
def _find(pattern: Value, text: Value) -> Value:
    """Give start and end (from 1, inclusive) and the texts of the leftmost match and its groups, or nil."""
    data = as_bytes(text)
    spans = compile_pattern(as_bytes(pattern)).first(data)
    if spans is None:
        return None
    return [spans[0][0] + 1, spans[0][1], _texts([_cut(data, span) for span in spans])]


# What follows gives [bytes scanned, result].


@host_function("regexp.find_all")
def _find_all(pattern: Value, text: Value) -> Encoded:
    scan, _ = _scan(pattern, text)
    found = _texts(scan.texts())
    return Encoded([scan.scanned, found])


@host_function("regexp.find_all_groups")
def _find_all_groups(pattern: Value, text: Value) -> Encoded:
    """For each match, its text and those of its groups."""
    scan, data = _scan(pattern, text)
    found: list[Value] = []
    size = 0
    for spans in scan.matches():
        groups = [_cut(data, span) for span in spans]
        size += sum(map(len, groups))
        if size > _MOST_RESULT_BYTES or len(found) * len(groups) > _MOST_MATCHES:
            raise HostError("Invalid", f"regexp: the result is larger than {_MOST_RESULT_BYTES} bytes")
        found.append(_texts(groups))
    return Encoded([scan.scanned, found])


@host_function("regexp.find_all_index")
def _find_all_index(pattern: Value, text: Value) -> Encoded:
    """For each match its place, from 1, both ends inclusive."""
    scan, _ = _scan(pattern, text)
    found: list[Value] = [[spans[0][0] + 1, spans[0][1]] for spans in scan.matches()]
    return Encoded([scan.scanned, found])


@host_function("regexp.replace")
def _replace(pattern: Value, text: Value, template: Value) -> Value:
    scan, _ = _scan(pattern, text)
    result = _text(scan.replace(as_bytes(template)))
    return [scan.scanned, result]


@host_function("regexp.split")
def _split(pattern: Value, text: Value, most: Value = -1) -> Encoded:
    scan, _ = _scan(pattern, text)
    pieces = _texts(scan.split(most if isinstance(most, int) else -1))
    return Encoded([scan.scanned, pieces])
