"""How a start or a message is kept in the outbox: one value of the payload encoding, read by any worker later."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from orchestration.core import payload
from orchestration.core.identity import Identity
from orchestration.errors import DecodeError
from orchestration.tasks.starts import StartRequest, check_start

__all__ = ["pack_message", "pack_start", "unpack_message", "unpack_start"]

_FORMAT: Final = 1
_NEEDED: Final = ("workflow_type", "args", "workflow_id", "request_id")
_EMPTY: Final = StartRequest(workflow_type="", args=b"", workflow_id="", request_id="")


def pack_start(wanted: StartRequest) -> bytes:
    """A start without what has its default, so that an older release reads what it knows."""
    fields = {
        field.name: value
        for field in dataclasses.fields(StartRequest)
        if (value := getattr(wanted, field.name)) != getattr(_EMPTY, field.name) or field.name in _NEEDED
    }
    if "identity" in fields:
        fields["identity"] = wanted.identity.fields()
    return payload.encode([_FORMAT, fields])


def unpack_start(data: bytes) -> StartRequest:
    """Read a start.

    Raises:
        DecodeError: A newer release wrote it, or it is none.
    """
    fields = _read(data)
    unknown = sorted(set(fields) - {field.name for field in dataclasses.fields(StartRequest)})
    if unknown:
        raise DecodeError(f"a newer release wrote this start: {', '.join(unknown)} is not known to this one")
    try:
        if "identity" in fields:
            fields["identity"] = Identity.of(fields["identity"])
        if "signals" in fields:
            fields["signals"] = [(topic, args) for topic, args in fields["signals"]]
        wanted = StartRequest(**fields)
        check_start(wanted)  # as it was when it was written, by a release that may know more
    except (TypeError, ValueError, AttributeError) as error:
        raise DecodeError(f"a newer release wrote this start, or it is no start: {error}") from error
    return wanted


def pack_message(topic: str, values: Any) -> bytes:
    """What goes with a signal (its topic and payloads) or a cancel request (its reason)."""
    return payload.encode([_FORMAT, {"topic": topic, "values": values}])


def unpack_message(data: bytes) -> tuple[str, Any]:
    """Read what :func:`pack_message` wrote.

    Raises:
        DecodeError: A newer release wrote it, or it is none.
    """
    found = _read(data)
    if set(found) != {"topic", "values"}:
        raise DecodeError(f"a newer release wrote this message: it has {', '.join(sorted(found)) or 'nothing'}")
    return found["topic"], found["values"]


def _read(data: bytes) -> dict[str, Any]:
    found = payload.decode(bytes(data))
    if not isinstance(found, list) or len(found) != 2 or found[0] != _FORMAT or not isinstance(found[1], dict):
        raise DecodeError("a newer release wrote this entry, or it is none: update this worker")
    return found[1]
