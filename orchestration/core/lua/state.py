"""Bare Lua states: the only place where lupa is imported.

lupa carries no type hints, so its objects are ``Any`` from here on.
"""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from lupa import lua54

from orchestration.errors import LuaSourceError, MemoryLimitError

__all__ = ["LuaError", "LuaMemoryError", "boot_code", "check_syntax", "new_state", "prelude_code"]

LuaError = lua54.LuaError
LuaMemoryError = lua54.LuaMemoryError

_PRELUDE = Path(__file__).parent / "prelude"
_BOOT = (
    "sandbox_order", "sandbox_coroutine", "sandbox_env", "machine", "codec", "scheduler", "channel", "classes",
    "mailbox", "machine_start", "compile", "started",
)  # fmt: skip
_COMPILE_BYTES = 256 * 1024 * 1024


def _refuse_attributes(_object: object, _name: object, _is_setting: bool) -> object:
    raise AttributeError("Lua code has no access to Python objects")


def new_state(memory_bytes: int | None = None) -> Any:
    """A Lua 5.4 state with its standard libraries; it knows bytes only and lets nobody look into Python objects."""
    return lua54.LuaRuntime(
        encoding=None,
        register_eval=False,
        register_builtins=False,
        unpack_returned_tuples=True,
        attribute_filter=_refuse_attributes,
        max_memory=memory_bytes,
    )


@cache
def prelude_code(name: str) -> bytes:
    """Bytecode of ``prelude/<name>.lua``; compiled once in each process.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not name.isidentifier():  # a name may come from a bundle's list of modules
        raise FileNotFoundError(f"no prelude file is named {name!r}")
    return _compiled((_PRELUDE / f"{name}.lua").read_bytes(), name)


@cache
def boot_code() -> bytes:
    """Bytecode that returns a table of functions by file name: those that every run begins with, in one piece."""
    files = [(_PRELUDE / f"{name}.lua").read_bytes() for name in _BOOT]
    parts = [b"%s = function(...)\n%s\nend,\n" % (name.encode(), text) for name, text in zip(_BOOT, files, strict=True)]
    return _compiled(b"return {\n" + b"".join(parts) + b"}", "boot")


def _compiled(source: bytes, name: str) -> bytes:
    compiler = new_state().eval(b"function(text, name) return string.dump(assert(load(text, name, 't')), true) end")
    return bytes(compiler(source, b"=[" + name.encode() + b"]"))


@lru_cache(maxsize=256)
def check_syntax(source: bytes, name: str) -> None:
    """Compile user code as it was written, and throw the result away.

    Raises:
        LuaSourceError: It is not valid Lua; the message is Lua's own, with file and line.
        MemoryLimitError: It is too large to compile.
    """
    try:
        result = new_state(_COMPILE_BYTES).globals()[b"load"](source, b"@" + name.encode(), b"t")
    except LuaMemoryError as error:
        raise MemoryLimitError(f"{name}: too large to compile") from error
    if isinstance(result, tuple):
        message = result[1].decode("utf-8", "replace")
        raise LuaSourceError(f"{name}:1: {message}" if message.startswith("attempt to load") else message)
