"""Inputs on their way to a run: encoded without a time, stamped with Redis' time when a holder is handed them."""

from __future__ import annotations

from typing import Any

import msgpack

__all__ = ["decode_input", "encode_input", "stamp", "unstamp"]


def encode_input(code: int, *rest: Any) -> bytes:
    """Encode an input without its time.

    Args:
        code: Number of the event's kind, below 64.
        rest: What follows the time in the event; payloads as bytes.
    """
    packed: bytes = msgpack.packb([code, *rest], use_bin_type=True)
    # The array is announced one element longer than it is: stamp() puts the time in the second place.
    return bytes([packed[0] + 1]) + packed[1:]


def decode_input(item: bytes) -> tuple[int, list[Any]]:
    """Read an input that has no time: its code, and what follows."""
    code, *rest = msgpack.unpackb(bytes([item[0] - 1]) + item[1:], raw=False, strict_map_key=False)
    return code, rest


def stamp(item: bytes, time_ms: int) -> bytes:
    """Make the event of an input by putting in its time."""
    return item[:2] + b"\xcf" + time_ms.to_bytes(8, "big") + item[2:]


def unstamp(event: bytes) -> bytes:
    """Make an input of an event again, to be stamped anew."""
    if event[2] == 0xCF:
        return event[:2] + event[11:]
    code, _time_ms, *rest = msgpack.unpackb(event, raw=False, strict_map_key=False)
    return encode_input(code, *rest)
