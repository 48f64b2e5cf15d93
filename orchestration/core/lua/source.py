"""Preparation of user code: keys that are stored by an expression are shown to the sandbox first.

``t[k] = v`` becomes ``t[_k(k)] = v`` where ``_k`` (a name that does not occur in the code) is the key function of
``prelude/sandbox_order.lua``: it numbers the objects that are used as keys, so that ``pairs`` has an order to follow.
Only the last index of an assignment and the keys of table constructors are touched; reading costs nothing. No line
moves, and syntax errors are found by compiling the code as it was written, so they read exactly as Lua's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from orchestration.core.lua.state import check_syntax
from orchestration.errors import ForbiddenNameError

__all__ = ["Token", "prepare", "tokenize"]

_WORD = re.compile(
    rb"""
      (?P<space> [ \t\r\n\f\v]++ | --\[(?P<a>=*+)\[ (?s:.*?) \](?P=a)\] | --[^\n\r]*+ )
    | (?P<long> \[(?P<b>=*+)\[ (?s:.*?) \](?P=b)\] )
    | (?P<string> "(?: [^"\\\n\r] | \\z[ \t\r\n\f\v]*+ | \\\r\n | \\(?s:.) )*+"
                | '(?: [^'\\\n\r] | \\z[ \t\r\n\f\v]*+ | \\\r\n | \\(?s:.) )*+' )
    | (?P<number> 0[xX](?: [pP][+-]? | [0-9a-zA-Z_.] )*+ | \.?[0-9](?: [eE][+-]? | [0-9a-zA-Z_.] )*+ )
    | (?P<name> [A-Za-z_][A-Za-z0-9_]*+ )
    | (?P<op> \.\.\. | \.\. | == | ~= | <= | >= | << | >> | // | :: | (?s:.) )
    """,
    re.VERBOSE,
)
_NUMBER_STRING = frozenset({"number", "string", "long"})
_FORBIDDEN = frozenset({b"__gc", b"__mode"})
_OPENERS = frozenset({b"(", b"{", b"[", b"function", b"if", b"do"})
_CLOSERS = frozenset({b")", b"}", b"]", b"end"})
_BRACKETS = frozenset({b"(", b"{", b"["})


@dataclass(slots=True)
class Token:
    """A word of Lua text.

    Attributes:
        kind: long, string, number, name or op.
        text: As written.
        start: Where it begins, in bytes.
    """

    kind: str
    text: bytes
    start: int


@lru_cache(maxsize=256)
def prepare(source: bytes, name: str = "?") -> bytes:
    """Rewrite a chunk so that it can be loaded with ``rt.load_user``.

    Args:
        source: Lua text.
        name: File name for messages.

    Returns:
        A chunk that takes the key function and returns the user's chunk as a function. No line moves.

    Raises:
        LuaSourceError: It is not valid Lua.
        ForbiddenNameError: The code names ``__gc`` or ``__mode``.
    """
    check_syntax(source, name)  # only what is a whole chunk by itself may be put inside another
    tokens = tokenize(source, name)
    edits = _edits(tokens)
    hidden = _unused_name(tokens)
    parts = [b"local ", hidden, b" = ... return function(...) "]
    done = 0
    for position, opens in sorted(edits):
        parts += (source[done:position], hidden + b"(" if opens else b")")
        done = position
    parts += (source[done:], b"\nend")
    return b"".join(parts)


def tokenize(source: bytes, name: str) -> list[Token]:
    """The words of a valid chunk, without space and comments.

    Raises:
        ForbiddenNameError: The code names ``__gc`` or ``__mode``.
    """
    tokens = []
    for match in _WORD.finditer(source):
        kind = match.lastgroup or "op"
        if match.group("space") is not None:
            continue
        if match.group("long") is not None:
            kind = "long"
        text = match.group()
        if text in _FORBIDDEN:
            line = source.count(b"\n", 0, match.start()) + 1
            raise ForbiddenNameError(
                f"{name}:{line}: {text.decode()} is not available: finalizers and weak tables show the garbage "
                f"collector; remove the field, or keep what it was for in an ordinary table"
            )
        tokens.append(Token(kind, text, match.start()))
    return tokens


def _edits(tokens: list[Token]) -> list[tuple[int, bool]]:
    edits: list[tuple[int, bool]] = []
    stack: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind not in ("op", "name"):
            continue
        if token.text in _OPENERS:
            stack.append(index)
        elif token.text in _CLOSERS and stack:
            opener = stack.pop()
            if token.text != b"]" or index + 1 >= len(tokens):
                continue
            following = tokens[index + 1].text
            inside = bool(stack) and tokens[stack[-1]].text in _BRACKETS
            stored = following == b"=" or (following == b"," and not inside)
            if stored and not _needs_no_number(tokens[opener + 1 : index]):
                edits += ((tokens[opener].start + 1, True), (token.start, False))
    return edits


def _needs_no_number(key: list[Token]) -> bool:
    """True if the key cannot be an object: a constant, or a sum with a number."""
    if len(key) == 1:
        token = key[0]
        if token.kind == "number" or token.text in (b"true", b"false"):
            return True
        return token.kind in _NUMBER_STRING and b"\\" not in token.text and b"__" not in token.text
    if len(key) == 2:
        return key[0].text == b"-" and key[1].kind == "number"
    return key[-1].kind == "number" and key[-2].text in (b"+", b"-") and _is_sum(key[:-2])


def _is_sum(tokens: list[Token]) -> bool:
    """True for ``i``, ``#t``, ``a.b.c``, ``#a.b``: what is left of ``+ 1`` in the keys of most loops."""
    names = tokens[1:] if tokens and tokens[0].text == b"#" else tokens
    return (
        len(names) % 2 == 1
        and all(token.kind == "name" and token.text not in (b"nil", b"not") for token in names[::2])
        and all(token.text == b"." for token in names[1::2])
    )


def _unused_name(tokens: list[Token]) -> bytes:
    names = {token.text for token in tokens if token.kind == "name"}
    hidden, number = b"_k", 0
    while hidden in names:
        number += 1
        hidden = b"_k%d" % number
    return hidden
