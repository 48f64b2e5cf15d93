"""What is kept of the Celery task that a run is, until the run ends: who is called then, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgpack
from kombu.utils import json

from orchestration.errors import DecodeError, EncodeError

__all__ = ["kept_request", "pack_request", "unpack_request"]

_CANVAS: Final = ("callbacks", "errbacks", "chain", "chord")
_KEPT: Final = (
    *_CANVAS, "group", "group_index", "root_id", "parent_id", "ignore_result",
    "reply_to", "correlation_id", "retries", "replaced_task_nesting", "stamped_headers", "stamps", "expires",
)  # fmt: skip
_AS_CELERY: Final = 1
"""Extension type of msgpack: a value of a type that it has not got, in the JSON that Celery sends it in."""


def kept_request(request: Mapping[str, Any], backend: Any) -> dict[str, Any]:
    """The facts of a Celery task that completing it later needs, without those that are empty.

    Args:
        request: All facts.
        backend: The result backend of the task; where to reply is kept for one that answers by messages (RPC).
    """
    kept = {name: request[name] for name in _KEPT if request.get(name)}
    if request.get("group_index") is not None:  # 0 is the first of a chord's header
        kept["group_index"] = request["group_index"]
    if kept.get("root_id") == request.get("id"):
        kept.pop("root_id", None)
    if kept.get("correlation_id") == request.get("id"):
        kept.pop("correlation_id", None)
    if not hasattr(backend, "destination_for"):
        kept.pop("reply_to", None)
    return kept


def pack_request(kept: Mapping[str, Any]) -> bytes:
    """The facts as bytes; what the next tasks are called with comes back as Celery's own JSON brings it.

    Raises:
        EncodeError: The rest of the canvas has a value that Celery's JSON cannot carry.
    """
    facts = {name: value if name in _CANVAS else _plain(value) for name, value in kept.items()}
    return bytes(msgpack.packb(facts, default=_carried))


def unpack_request(packed: bytes) -> dict[str, Any]:
    """The facts that :func:`pack_request` has packed."""
    found: dict[str, Any] = msgpack.unpackb(packed, raw=False, strict_map_key=False, ext_hook=_restored)
    return found


def _plain(value: Any) -> Any:
    """Ids and times may be objects in the process that sends; the words are enough of them."""
    return value if isinstance(value, (str, int, float, list, tuple, Mapping)) else str(value)


def _carried(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return msgpack.ExtType(_AS_CELERY, json.dumps(value).encode())  # type: ignore[no-untyped-call]
    except (TypeError, ValueError) as error:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise EncodeError(
            f"a task after the workflow (chain, link, link_error or chord) is called with a value of type {kind}, "
            "which cannot be kept until the workflow ends: give it what Celery's JSON carries"
        ) from error


def _restored(code: int, data: bytes) -> Any:
    if code != _AS_CELERY:
        raise DecodeError(f"the facts of a Celery task hold a value of type {code}, which a newer release has written")
    return json.loads(data)  # type: ignore[no-untyped-call]
