"""A history as lines of JSON: what people and programs read, and with it all that a replay elsewhere needs."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from orchestration.core import events, payload

__all__ = ["FORMAT", "as_json", "explain_event", "history_lines"]

FORMAT: Final = 1
"""Of the lines."""

_ENCODED = ("args", "result", "value")


def history_lines(head: Mapping[str, Any], code: bytes | None, history: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The lines of a history, as objects.

    Args:
        head: What the first line says of the run.
        code: The encoded code bundle; None when it is stored nowhere.
        history: The encoded events, oldest first.

    Returns:
        The first is about the run and has its code, each other one is an event; ``bytes`` is the event, and ``bundle``
        the code, exactly as stored, in base64.
    """
    yield {"format": FORMAT, **head, "bundle": _base64(code) if code is not None else None}
    for number, raw in enumerate(history, 1):
        name, time_ms, facts = explain_event(raw)
        at = {"time_ms": time_ms} if time_ms else {}
        yield {"number": number, "event": name, **at, **facts, "bytes": _base64(raw)}


def explain_event(raw: bytes) -> tuple[str, int, dict[str, Any]]:
    """Name, time (0 for commands) and the other elements of an event, payloads decoded."""
    event = events.decode(raw)
    facts: dict[str, Any] = {}
    time_ms = 0
    for name in events.fields_of(event):
        value = getattr(event, name)
        if name == "time_ms":
            time_ms = value
        elif name == "failure":
            facts[name] = payload.decode_failure(value)
        elif name in _ENCODED:
            facts[name] = payload.decode(value)
        elif value not in (None, "", {}):
            facts[name] = value
    return event.CODE.name.lower(), time_ms, facts


def as_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON text. Bytes become ``{"base64": ...}``, numbers that JSON has not got become text."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
