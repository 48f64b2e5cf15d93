"""What every host function needs: bytes out of Lua strings, and sizes checked before any work."""

from __future__ import annotations

from typing import TypeAlias

from orchestration.core.lua.host import HostError

__all__ = ["LUA_INTEGER_MAX", "LUA_INTEGER_MIN", "MAX_TEXT_BYTES", "Value", "as_bytes", "as_text", "limited"]

Value: TypeAlias = bool | int | float | str | bytes | list["Value"] | dict[str, "Value"] | None
"""What may cross the border between Lua and Python."""

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Largest text or byte string that one host function takes."""

LUA_INTEGER_MAX = 2**63 - 1
LUA_INTEGER_MIN = -(2**63)


def as_bytes(value: Value) -> bytes:
    """Give the bytes of a Lua string, which arrives as text when it happens to be valid UTF-8.

    Raises:
        HostError: ``Invalid`` when it is no string at all, or larger than `MAX_TEXT_BYTES`.
    """
    if isinstance(value, str):
        data = value.encode()
    elif isinstance(value, bytes):
        data = value
    else:
        raise HostError("Invalid", "expected a string")
    return limited(data, MAX_TEXT_BYTES, "data")


def as_text(value: Value, what: str) -> str:
    """Give a Lua string as text.

    Raises:
        HostError: ``Invalid`` when it is no string or not valid UTF-8.
    """
    if not isinstance(value, str):
        raise HostError("Invalid", f"{what} must be a string of valid UTF-8")
    return value


def limited(data: bytes, limit: int, what: str) -> bytes:
    """Return `data`, refusing it when it is longer than `limit` bytes.

    Raises:
        HostError: ``Invalid``, with both sizes.
    """
    if len(data) > limit:
        raise HostError("Invalid", f"{what} is too large: {len(data)} bytes, the most is {limit}")
    return data
