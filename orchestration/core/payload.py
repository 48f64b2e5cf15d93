"""Values that cross a border: one canonical msgpack encoding, byte-identical from Python and from Lua.

Integers take the smallest form, floats are always 64 bits, valid UTF-8 text is ``str``, other byte strings and
Python ``bytes`` are ``bin``, maps have text keys sorted by their UTF-8 bytes. Equal values have equal bytes, so
replay compares commands without decoding them. Extension types are reserved for later stages (compression,
encryption, large values) and refused today. The Lua side is ``lua/prelude/codec.lua``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import logging
import math
import sys
import uuid
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol, Self, runtime_checkable

import msgpack

from orchestration.errors import DecodeError, EncodeError, PayloadTooLargeError

__all__ = ["EMPTY_ARRAY", "EMPTY_MAP", "MAX_DEPTH", "NIL", "decode", "decode_failure", "encode", "encode_failure"]

MAX_DEPTH = 128
"""Most levels of arrays and maps inside each other."""

NIL = b"\xc0"
EMPTY_ARRAY = b"\x90"
EMPTY_MAP = b"\x80"

logger = logging.getLogger(__name__)

_NEAR = 0.8
_MOST_SHOWN = 100
_INT_MIN = -(2**63)
_INT_MAX = 2**63 - 1
_NAN = math.nan


@runtime_checkable
class _Model(Protocol):
    """What a pydantic model offers."""

    def model_dump(self) -> dict[str, Any]: ...


def encode(value: Any, *, limit: int | None = None) -> bytes:
    """Encode a value canonically.

    ``Decimal`` becomes text, dates and times RFC 3339 text, ``UUID`` text, an enum member its value, dataclasses
    and pydantic models maps, tuples arrays.

    Args:
        value: What to encode.
        limit: Most bytes the encoding may have; None for no limit.

    Raises:
        EncodeError: A part of the value cannot be carried; the message names its path, such as ``value.items[3]``.
        PayloadTooLargeError: The encoding is longer than ``limit``.
    """
    try:
        plain = _Reducer(sys.maxsize if limit is None else limit).plain(value)
    except _UnfitError as error:
        raise EncodeError(f"value{''.join(reversed(error.steps))}: {error.text}") from None
    data: bytes = msgpack.packb(plain, use_bin_type=True)
    if limit is not None and len(data) > limit:
        raise PayloadTooLargeError(
            f"the value takes {len(data)} bytes, the limit is {limit}: send less, or a reference to it"
        )
    if limit is not None and len(data) >= _NEAR * limit:
        logger.warning("a value of %s bytes is near to the limit of %s", len(data), limit)
    return data


def decode(data: bytes) -> Any:
    """Decode what :func:`encode` or the Lua codec wrote: None, bool, int, float, str, bytes, list and dict.

    Raises:
        DecodeError: The bytes are not exactly one value of this encoding.
    """
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_refuse_ext)
    except DecodeError:
        raise
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise DecodeError(f"not a value of this encoding: {type(error).__name__}: {error}") from error


def encode_failure(
    message: str,
    *,
    kind: str = "",
    retryable: bool | None = None,
    details: Mapping[str, Any] | None = None,
    stack: str | None = None,
) -> bytes:
    """Encode an error that crosses a border: a map of message, kind, and what else is known of it."""
    failure: dict[str, Any] = {"message": message, "kind": kind}
    if retryable is not None:
        failure["retryable"] = retryable
    if details:
        failure["details"] = dict(details)
    if stack:
        failure["stack"] = stack
    return encode(failure)


def decode_failure(data: bytes) -> dict[str, Any]:
    """Decode a failure; ``message`` and ``kind`` are always there, as text.

    Raises:
        DecodeError: The bytes are not a failure.
    """
    value = decode(data)
    if not isinstance(value, dict):
        raise DecodeError(f"a failure is a map, not {type(value).__name__}")
    for key in ("message", "kind"):
        text = value.get(key, "")
        value[key] = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text)
    return value


def _refuse_ext(code: int, _data: bytes) -> NoReturn:
    raise DecodeError(f"payload stage {code} is not known to this release")


class _UnfitError(Exception):
    """A part cannot be carried; its path is put together on the way up, so that values without mistakes pay nothing.

    Args:
        text: What is wrong with it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.steps: list[str] = []

    def at(self, step: str) -> Self:
        """The same, one level up."""
        self.steps.append(step)
        return self


class _Reducer:
    """Reduces values to the types that msgpack writes canonically.

    Args:
        most: Most parts a value may have: each takes a byte at least. One list that stands in many places counts in
            each: a few of those inside each other are more than any machine can write down.
    """

    __slots__ = ("_left", "_most")

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def plain(self, value: Any, depth: int = 0, parents: tuple[int, ...] = ()) -> Any:
        """What to write for a value."""
        kind = type(value)
        if kind is str:
            return _text(value)
        if value is None or kind is bool or kind is bytes:
            return value
        if kind is int:
            if _INT_MIN <= value <= _INT_MAX:
                return value
            raise _UnfitError("the integer does not fit in 64 bits; send it as text")
        if kind is float:
            return value if value == value else _NAN  # one bit pattern for every NaN
        if kind in (list, tuple, dict) or isinstance(value, (list, tuple, Mapping)):
            parents = _within(value, depth, parents)
            self._left -= len(value)
            if self._left < 0:
                text = f"the value has more than {self._most} parts, the limit is {self._most} bytes: send less"
                raise PayloadTooLargeError(text)
            if isinstance(value, Mapping):
                return self._map(value, depth, parents)
            items: list[Any] = []
            try:
                for item in value:
                    items.append(self.plain(item, depth + 1, parents))  # noqa: PERF401 - its length is the place
            except _UnfitError as error:
                raise error.at(f"[{len(items)}]") from None
            return items
        return self._converted(value, depth, parents)

    def _map(self, value: Mapping[Any, Any], depth: int, parents: tuple[int, ...]) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for key, item in value.items():
            if isinstance(key, enum.Enum) and isinstance(key.value, str):
                name = key.value
            elif isinstance(key, str):
                name = str(key)
            else:
                raise _UnfitError(f"the key {_shown(key)} is {type(key).__name__}; keys must be text")
            if name in items:
                raise _UnfitError(f"two keys read {_shown(name)}")
            try:
                _text(name)
            except _UnfitError as error:
                raise error.at(": key") from None
            try:
                items[name] = self.plain(item, depth + 1, parents)
            except _UnfitError as error:
                raise error.at(f".{name:.100}" if name.isidentifier() else f"[{_shown(name)}]") from None
        # Code point order is the order of the UTF-8 bytes, so no key is encoded just to be compared.
        return {name: items[name] for name in sorted(items)}

    def _converted(self, value: Any, depth: int, parents: tuple[int, ...]) -> Any:
        """The types that are not msgpack's own."""
        plain: Any
        if isinstance(value, enum.Enum):
            plain = value.value
        elif isinstance(value, decimal.Decimal | uuid.UUID):
            return str(value)
        elif isinstance(value, dt.datetime | dt.date | dt.time):
            text = value.isoformat()
            return text[:-6] + "Z" if isinstance(value, dt.datetime) and text.endswith("+00:00") else text
        elif isinstance(value, bytearray | memoryview):
            return bytes(value)
        elif isinstance(value, str):
            plain = str.__str__(value)
        elif isinstance(value, int):
            plain = int(value)
        elif isinstance(value, float):
            plain = float(value)
        elif isinstance(value, bytes):
            return bytes(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            plain = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        elif isinstance(value, _Model) and not isinstance(value, type):
            plain = value.model_dump()
        else:
            raise _UnfitError(
                f"{type(value).__module__}.{type(value).__qualname__} cannot be carried; "
                "send text, numbers, bytes, lists or dicts"
            )
        return self.plain(plain, depth, _within(value, depth, parents))


def _within(value: Any, depth: int, parents: tuple[int, ...]) -> tuple[int, ...]:
    """Those that what is inside of a value is in."""
    if id(value) in parents:
        raise _UnfitError("the value contains itself")
    if depth >= MAX_DEPTH:
        raise _UnfitError(f"more than {MAX_DEPTH} levels")
    return (*parents, id(value))


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _UnfitError(f"the text holds a lone surrogate at {error.start}; send bytes instead") from None
    return value


def _shown(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."
