"""The MessagePack of Redis' scripts: older than the standard, so without the ``bin`` and ``ext`` types.

Source: Redis 6.2, ``deps/lua/src/lua_cmsgpack.c`` (0.4.0).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

__all__ = ["pack", "unpack"]

_MOST_NESTED = 16

_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">q",  # a uint64 is read as a signed one
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_SIZES = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def unpack(data: bytes) -> tuple[Any, ...]:
    """Decode all values in a row.

    Returns:
        For each: None, bool, float, bytes, list (of an array) or dict (of a map).

    Raises:
        ValueError: What Redis says to a script.
    """
    reader = _Reader(data)
    values = []
    while reader.place < len(data):
        values.append(reader.value())
    return tuple(values)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def _take(self, size: int) -> bytes:
        piece = self._data[self.place : self.place + size]
        if len(piece) < size:
            raise ValueError("Missing bytes in input.")
        self.place += size
        return piece

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def value(self) -> Any:
        head = self._take(1)[0]
        if head <= 0x7F or head >= 0xE0:
            return float(head if head <= 0x7F else head - 256)
        if head in _CONSTANTS:
            return _CONSTANTS[head]
        if head in _NUMBERS:
            return float(self._number(_NUMBERS[head]))
        if head in _SIZES:
            size = self._number(_SIZES[head])
            kind = "text" if head <= 0xDB else "array" if head <= 0xDD else "map"
        elif head <= 0xBF:
            kind = "map" if head <= 0x8F else "array" if head <= 0x9F else "text"
            size = head & (0x1F if kind == "text" else 0x0F)
        else:
            raise ValueError("Bad data format in input.")
        if kind == "text":
            return self._take(size)
        if kind == "array":
            return [self.value() for _ in range(size)]
        return {self.value(): self.value() for _ in range(size)}


def pack(value: Any, is_table: Callable[[Any], bool]) -> bytes:
    """Encode a value of Lua: whole numbers as integers, tables that look like arrays as arrays.

    Args:
        value: As lupa hands it over.
        is_table: Tells tables from the rest.
    """
    return b"".join(_packed(value, is_table, 0))


def _packed(value: Any, is_table: Callable[[Any], bool], depth: int) -> Iterator[bytes]:
    if isinstance(value, bool) or value is None:
        yield b"\xc0" if value is None else b"\xc3" if value else b"\xc2"
    elif isinstance(value, (int, float)):
        yield _packed_number(value)
    elif isinstance(value, bytes):
        yield _head(len(value), (32, 0xA0), (0xD9, 0xDA, 0xDB)) + value
    elif is_table(value) and depth < _MOST_NESTED:
        entries = list(value.items())
        if {key for key, _ in entries} == set(range(1, len(entries) + 1)):
            yield _head(len(entries), (16, 0x90), (None, 0xDC, 0xDD))
            for index in range(1, len(entries) + 1):
                yield from _packed(value[index], is_table, depth + 1)
        else:
            yield _head(len(entries), (16, 0x80), (None, 0xDE, 0xDF))
            for key, item in entries:
                yield from _packed(key, is_table, depth + 1)
                yield from _packed(item, is_table, depth + 1)
    else:
        yield b"\xc0"


def _head(size: int, short: tuple[int, int], codes: tuple[int | None, int, int]) -> bytes:
    if size < short[0]:
        return bytes([short[1] | size])
    if codes[0] is not None and size <= 0xFF:
        return bytes([codes[0], size])
    return struct.pack(">BH", codes[1], size) if size <= 0xFFFF else struct.pack(">BI", codes[2], size)


def _packed_number(number: float) -> bytes:
    if -(2**63) <= number < 2**63 and number == int(number):
        packed: bytes = msgpack.packb(int(number))
        return packed
    try:
        if struct.unpack(">f", struct.pack(">f", number))[0] == number:
            return struct.pack(">Bf", 0xCA, number)
    except OverflowError:
        pass
    return struct.pack(">Bd", 0xCB, number)
