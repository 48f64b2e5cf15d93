"""Bodies of messages: what a queue's codec makes of a value, and what a function gets of anybody's message."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgpack
import yaml
from kombu import serialization

__all__ = ["UndecodableError", "decode", "encode"]

_loads: Any = serialization.loads


class UndecodableError(Exception):
    """Nobody will ever be able to read this message."""


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError("it must be text")
    return value.encode()


def _octets(value: Any) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise TypeError("it must be a string")
    return value.encode() if isinstance(value, str) else value


_CODECS: Final[Mapping[str, tuple[Callable[[Any], bytes], str, str]]] = {
    "json/plain": (_json, "application/json", "utf-8"),
    "application/msgpack": (lambda value: msgpack.packb(value, use_bin_type=True), "application/x-msgpack", "binary"),
    "yaml/plain": (lambda value: yaml.safe_dump(value, allow_unicode=True).encode(), "application/x-yaml", "utf-8"),
    "text/plain": (_text, "text/plain", "utf-8"),
    "application/octet-stream": (_octets, "application/data", "binary"),
}
_KNOWN_BY: Final[Mapping[str, str]] = {
    "application/msgpack": "application/x-msgpack",
    "application/octet-stream": "application/data",
    "application/yaml": "application/x-yaml",
    "text/yaml": "application/x-yaml",
}
_ACCEPTED: Final = frozenset(content_type for _, content_type, _ in _CODECS.values())
"""What is read. Nothing that could run code: no pickle."""


def encode(codec: str, value: Any) -> tuple[bytes, str, str]:
    """Write a value as the codec of a queue says.

    Returns:
        Body, content type, content encoding: those that kombu itself uses for such bodies.

    Raises:
        ValueError: The codec cannot carry the value.
    """
    write, content_type, content_encoding = _CODECS[codec]
    try:
        return write(value), content_type, content_encoding
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"the codec {codec} cannot carry this value: {error}") from error


def decode(message: Any) -> list[Any]:
    """Read a message, whoever sent it.

    The content type of the message decides, not the codec of the queue. Of a message that was sent as a Celery task
    the function gets the task's arguments.

    Args:
        message: As kombu received it.

    Returns:
        Arguments of the function: the body alone, or those of a task.

    Raises:
        UndecodableError: The content type is none that is read here, or the body is not what it says.
    """
    content_type = str(message.content_type or "application/data").partition(";")[0].strip().lower()
    content_type = _KNOWN_BY.get(content_type, content_type)
    if content_type.endswith("+json"):
        content_type = "application/json"
    try:
        if message.errors:  # such as a compression that is unknown
            raise message.errors[0][1]
        value = _loads(message.body, content_type, message.content_encoding or "utf-8", accept=_ACCEPTED)
    except Exception as error:  # a decoder may raise anything
        raise UndecodableError(f"{content_type}: {type(error).__name__}: {error}"[:300]) from error
    if "task" in (message.headers or {}) and isinstance(value, list) and len(value) == 3:
        args, kwargs, _ = value
        if isinstance(args, list) and isinstance(kwargs, Mapping):
            return [*args, dict(kwargs)] if kwargs else args
    return [value]
