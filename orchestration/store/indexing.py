"""Search attributes as the index has them: bytes whose order is the order of the values.

A value is its kind and its bytes: ``b0`` and ``b1``; ``n`` and ten bytes of a number, whole and fractional ones in one
order; ``s`` and the UTF-8 of a text. ``redis_lua/include/index.lua`` says where they stand.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from orchestration.core import payload
from orchestration.store.base import pack_for_script

__all__ = ["MAX_ATTRIBUTES", "MAX_ITEMS", "MAX_NAME_BYTES", "MAX_VALUE_BYTES", "attribute_op", "check_search",
           "index_fields", "index_values", "indexed"]  # fmt: skip

MAX_ATTRIBUTES: Final = 100
MAX_ITEMS: Final = 100
MAX_NAME_BYTES: Final = 128
MAX_VALUE_BYTES: Final = 1024
_SIGN: Final = 1 << 63


def _number(value: float) -> bytes:
    """Ten bytes in the order of numbers: the nearest float, and how far a whole number is from it."""
    nearest = float(value)
    bits: int = struct.unpack(">Q", struct.pack(">d", nearest + 0.0))[0]  # + 0.0: no negative zero
    ordered = bits ^ (2**64 - 1) if bits & _SIGN else bits | _SIGN
    beside = value - int(nearest) if isinstance(value, int) else 0
    return struct.pack(">QH", ordered, beside + 0x8000)


def indexed(value: Any) -> bytes:
    """Encode one value.

    Raises:
        ValueError: It cannot be searched for: not text, number or boolean, or too long.
    """
    if isinstance(value, bool):
        return b"b1" if value else b"b0"
    if isinstance(value, (int, float)):
        if value != value:
            raise ValueError("NaN cannot be searched for")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{value} has more than 64 bits")
        return b"n" + _number(value)
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        if len(data) > MAX_VALUE_BYTES:
            raise ValueError(f"a text of {len(data)} bytes is too long, {MAX_VALUE_BYTES} is the most")
        if b"\0" in data:
            raise ValueError(f"{value!r} has a NUL character")
        return b"s" + data
    raise ValueError(f"it is text, a number, a boolean or a list of texts, not {type(value).__name__}")


def index_values(value: Any) -> list[bytes]:
    """Encode the value of an attribute: one for a single value, one for each different item of a list.

    Raises:
        ValueError: It cannot be searched for.
    """
    if not isinstance(value, (list, tuple)):
        return [indexed(value)]
    if len(value) > MAX_ITEMS:
        raise ValueError(f"a list of {len(value)} is too long, {MAX_ITEMS} is the most")
    for item in value:
        if not isinstance(item, str):
            raise ValueError(f"a list has texts only, not {type(item).__name__}")
    return list(dict.fromkeys(indexed(item) for item in value))


def check_search(search: Mapping[Any, Any]) -> None:
    """Refuse search attributes that cannot be searched for.

    Raises:
        ValueError: A name or a value cannot be one; the message names it.
    """
    if len(search) > MAX_ATTRIBUTES:
        raise ValueError(f"{len(search)} search attributes are too many, {MAX_ATTRIBUTES} is the most")
    for name, value in search.items():
        if not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"the name of a search attribute is a text that is not empty, not {name!r}")
        if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
            raise ValueError(f"the name of search attribute {name[:40]!r}... is longer than {MAX_NAME_BYTES} bytes")
        try:
            index_values(value)
        except ValueError as error:
            raise ValueError(f"search attribute {name!r}: {error}") from None


def _lenient(value: Any) -> list[bytes]:
    """What can be indexed of a value; a history made before the checks may hold others, which are shown only."""
    try:
        return index_values(value)
    except ValueError:
        return []


def index_fields(search: Mapping[str, Any]) -> dict[str, bytes]:
    """What a start writes of search attributes: as they are shown, and as they are indexed."""
    fields: dict[str, bytes] = {}
    for name, value in search.items():
        fields[f"search:{name}"] = payload.encode(value)
        fields[f"ix:{name}"] = pack_for_script(_lenient(value))
    return fields


def attribute_op(name: str, value: Any) -> list[Any]:
    """The op of a step that gives a search attribute another value."""
    return ["search", name, payload.encode(value), _lenient(value)]
