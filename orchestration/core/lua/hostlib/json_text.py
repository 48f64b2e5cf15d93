"""JSON texts for the Lua module ``json``: what Go's ``encoding/json`` writes, and a strict, bounded reader.

Source: Go ``encoding/json`` (encode.go: floatEncoder, appendString), RFC 8259.
"""

from __future__ import annotations

import json
import math
import re
from json.encoder import encode_basestring
from typing import Any

from orchestration.core.lua.host import Encoded, HostError, host_function
from orchestration.core.lua.hostlib.values import LUA_INTEGER_MAX, LUA_INTEGER_MIN, Value, as_bytes

__all__ = ["decode_json", "encode_json", "format_float"]

_DEPTH = 128
_UNSAFE = re.compile("[<>&\u2028\u2029]")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LONG_INTEGER = re.compile(r"(?<![0-9])[0-9]{64}")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def format_float(number: float) -> str:
    """Write a float in its shortest form, as Go does: ``3`` for 3.0, ``1e-7``, ``null`` for what JSON cannot say."""
    if not math.isfinite(number):
        return "null"
    digits, _, exponent = repr(number).partition("e")
    size = abs(number)
    if size != 0 and (size < 1e-6 or size >= 1e21):
        power = int(exponent)
        return f"{digits.removesuffix('.0')}e{'-' if power < 0 else '+'}{abs(power)}"
    if exponent:
        digits = _positional(digits, int(exponent))
    return digits.removesuffix(".0")


def _positional(digits: str, power: int) -> str:
    sign, body = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    whole, _, fraction = body.partition(".")
    if fraction == "0":
        fraction = ""
    every, point = whole + fraction, len(whole) + power
    if point <= 0:
        return f"{sign}0.{'0' * -point}{every}"
    if point >= len(every):
        return sign + every + "0" * (point - len(every))
    return f"{sign}{every[:point]}.{every[point:]}"


def _quote(text: str) -> str:
    quoted = encode_basestring(text)
    if _UNSAFE.search(quoted):
        quoted = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
    return quoted


def encode_json(value: Value) -> str:
    """Write a value; map members in the order they come in, which the payload codec has sorted.

    Raises:
        HostError: ``Internal`` when it is nested more than 128 levels deep.
    """
    pieces: list[str] = []
    _write(value, pieces, 0)
    return "".join(pieces)


def _write(value: Value, out: list[str], depth: int) -> None:
    kind = type(value)
    if kind is str:
        out.append(_quote(value))  # type: ignore[arg-type]
    elif kind is int:
        out.append(str(value))
    elif kind is float:
        out.append(format_float(value))  # type: ignore[arg-type]
    elif value is None:
        out.append("null")
    elif kind is bool:
        out.append("true" if value else "false")
    elif isinstance(value, bytes):
        out.append(_quote(value.decode(errors="replace")))
    elif depth >= _DEPTH:
        raise HostError("Internal", f"cannot encode more than {_DEPTH} levels of nesting")
    elif isinstance(value, list):
        out.append("[")
        for number, item in enumerate(value):
            if number:
                out.append(",")
            _write(item, out, depth + 1)
        out.append("]")
    elif isinstance(value, dict):
        out.append("{")
        for number, (key, item) in enumerate(value.items()):
            if number:
                out.append(",")
            out.append(_quote(key))
            out.append(":")
            _write(item, out, depth + 1)
        out.append("}")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 64 else _real(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_READER = json.JSONDecoder(parse_float=_real, parse_constant=_refuse)
_PATIENT_READER = json.JSONDecoder(parse_float=_real, parse_int=_integer, parse_constant=_refuse)
"""Takes integers of any length, which Python's own reader of integers does not, but asks Python code for each."""


_UNTOUCHED = frozenset((bool, float, type(None)))
_UNTOUCHED_TEXT = _UNTOUCHED | {str}


class _Cleaner:
    """Checks what the reader made, and makes of it what Lua can hold.

    Args:
        keeps_all: Keep null members, and ``{}`` apart from ``[]``.
        mends_text: Replace halves of surrogate pairs.
    """

    def __init__(self, *, keeps_all: bool, mends_text: bool) -> None:
        self._keeps_all = keeps_all
        self._mends_text = mends_text

    def clean(self, value: Any, depth: int = 0) -> Value:
        """Give a cleaned copy."""
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is int:
            return value if LUA_INTEGER_MIN <= value <= LUA_INTEGER_MAX else _real(str(value))
        if kind is not list and kind is not dict:
            return value  # type: ignore[no-any-return]
        if depth >= _DEPTH:
            raise HostError("Internal", f"json: more than {_DEPTH} levels of nesting")
        depth += 1
        # Most of a large text are short strings and small numbers: no call for them.
        plain = _UNTOUCHED if self._mends_text else _UNTOUCHED_TEXT
        if kind is list:
            return [item if type(item) in plain else self.clean(item, depth) for item in value]
        members: dict[str, Value] = {
            self._text(key): item if type(item) in plain else self.clean(item, depth)
            for key, item in value.items()
            if item is not None or self._keeps_all
        }
        return members if members or self._keeps_all else []

    def _text(self, text: str) -> str:
        return _LONE_SURROGATE.sub("\ufffd", text) if self._mends_text else text


def decode_json(data: bytes, *, keeps_all: bool = False) -> Value:
    """Read a JSON text: integers stay integers while they fit 64 bits, others become floats.

    Args:
        data: The text; what is not UTF-8 in it is replaced.
        keeps_all: Keep null members, and ``{}`` apart from ``[]``; a Lua table can do neither.

    Raises:
        HostError: ``Internal``, with the place of the mistake.
    """
    text = data.decode(errors="replace")
    try:
        reader = _PATIENT_READER if _LONG_INTEGER.search(text) else _READER
        value = reader.decode(text)
        return _Cleaner(keeps_all=keeps_all, mends_text=_SURROGATE.search(text) is not None).clean(value)
    except RecursionError:
        raise HostError("Internal", f"json: more than {_DEPTH} levels of nesting") from None
    except (ValueError, OverflowError) as error:
        raise HostError("Internal", f"json: {error}") from error


@host_function("json.encode")
def _encode(value: Value) -> Value:
    return encode_json(value)


@host_function("json.decode")
def _decode(text: Value) -> Encoded:
    return Encoded(decode_json(as_bytes(text)))
