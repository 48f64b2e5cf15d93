"""Finds what is wrong with Lua text without running it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lupa import lua54

from orchestration.core.lua.source import prepare
from orchestration.errors import ForbiddenNameError

__all__ = ["LuaChecker", "make_lua_checker"]

LuaChecker = Callable[[str, str], str | None]
"""Takes a source and its name, answers Lua's message (``name:line: text``) or None."""

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
