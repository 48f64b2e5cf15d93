"""Finds what is wrong with Lua text without running it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from lupa import lua54

from orchestration.core.lua.source import prepare, tokenize
from orchestration.errors import ForbiddenNameError

__all__ = ["LuaChecker", "called_ids", "make_lua_checker"]

LuaChecker = Callable[[str, str], str | None]
"""Takes a source and its name, answers Lua's message (``name:line: text``) or None."""

_CALLS: Final = frozenset((
    b"async", b"call", b"exec", b"spawn", b"spawn_linked", b"spawn_linked_monitored", b"spawn_monitored",
))  # fmt: skip
_ID: Final = re.compile(rb"""(["'])([\w.-]+:[\w.-]+)\1""")
_MEMORY_BYTES = 64 * 1024 * 1024


def _refuse(_object: object, _name: object, _is_setting: bool) -> object:
    msg = "Lua code here reaches no Python object"
    raise AttributeError(msg)


def _forbidden(source: str, chunkname: str) -> str | None:
    try:
        prepare(source.encode(), chunkname)
    except ForbiddenNameError as error:
        return str(error)
    return None


def make_lua_checker() -> LuaChecker:
    """A checker that compiles with Lua 5.4 and looks for names that the sandbox refuses.

    The code is never run, bytecode is refused.
    """
    runtime: Any = lua54.LuaRuntime(
        encoding=None,
        register_eval=False,
        register_builtins=False,
        unpack_returned_tuples=True,
        attribute_filter=_refuse,
        max_memory=_MEMORY_BYTES,
    )
    compile_text: Any = runtime.execute(
        "local load = load return function(source, name)"
        " local chunk, message = load(source, name, 't') if not chunk then return message end end"
    )

    def check(source: str, chunkname: str) -> str | None:
        # Lua shortens long chunk names in messages, so it gets a short one, which is then replaced.
        message = compile_text(source.encode(), b"=lua")
        if message is None:
            return _forbidden(source, chunkname)
        text = bytes(message).decode("utf-8", "replace")
        return chunkname + text.removeprefix("lua")

    return check


def called_ids(source: str) -> Iterator[tuple[str, int]]:
    """Ids that a valid chunk names where it calls, awaits or spawns: ``funcs.call("app:total", ...)``.

    Returns:
        Each with its line, from 1; ids that are computed are not seen.
    """
    text = source.encode()
    tokens = tokenize(text, "")
    for dot, verb, bracket, first, end in zip(tokens, tokens[1:], tokens[2:], tokens[3:], tokens[4:], strict=False):
        if verb.text in _CALLS and dot.text in (b".", b":") and bracket.text == b"(" and end.text in (b",", b")"):
            found = _ID.fullmatch(first.text)
            if found is not None:
                yield found[2].decode(), text.count(b"\n", 0, first.start) + 1
