"""The module ``queue``: messages to queues, and the message that a consumer's function handles."""

from __future__ import annotations

import math
import uuid
from typing import Any, Final

from orchestration.core.lua.host import HostError
from orchestration.errors import EntryNotFoundError, StoreError
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import permitted
from orchestration.modules.verbs import verb
from orchestration.tasks.consumers.bodies import encode
from orchestration.tasks.consumers.consumer import DELIVERY
from orchestration.tasks.consumers.delivery import PROPERTIES, Delivery
from orchestration.tasks.consumers.queues import BoundQueue

__all__: list[str] = []

_RESERVED: Final = "x_"
_MOST_PRIORITY: Final = 255


@verb("queue.publish")
def publish(caller: Caller, queue_id: str, data: Any, headers: dict[str, Any] | list[Any] | None) -> bool:
    """Send a message to the tail of a queue."""
    _may(caller, "queue.publish", queue_id)
    queue = _find(caller, queue_id)
    given = _checked(headers or {})
    if data is None:
        raise HostError("Invalid", "message data required")
    try:
        body, content_type, content_encoding = encode(queue.entry.codec, data)
    except ValueError as error:
        raise HostError("Invalid", f"{queue_id}: {error}") from None
    options: dict[str, Any] = {
        "content_type": content_type,
        "content_encoding": content_encoding,
        "headers": given,
        "message_id": str(uuid.uuid4()),
        **{own: given[name] for name, own in PROPERTIES.items() if name in given},
    }
    runtime = caller.runtime
    try:
        most = queue.entry.max_length
        if most is not None and queue.info()["message_count"] >= most:
            raise HostError("Internal", f"{queue_id} is full: it has {most} messages", retryable=True)
        pushes = runtime.messages.pushes(queue.sender(body, **options)) if caller.node else None
        caller.check()
        if pushes is None or not pushes.commands:
            queue.publish(body, **options)
        elif not runtime.store(runtime.settings.namespace).effects.give_out(caller.node, pushes):
            raise HostError("Internal", "this process has been taken for dead: it sends nothing any more")
    except _errors(queue) as error:
        raise HostError("Internal", f"the broker does not take messages for {queue_id}: {error}", True) from error
    return True


@verb("queue.info")
def info(caller: Caller, queue_id: str) -> dict[str, Any]:
    """What the broker knows of a queue."""
    _may(caller, "queue.info", queue_id)
    queue = _find(caller, queue_id)
    try:
        return queue.info()
    except queue.errors as error:
        raise HostError("Internal", f"the broker does not answer: {error}", retryable=True) from error


@verb("queue.message", quick=True)
def message(caller: Caller) -> dict[str, Any]:
    """The message that the caller handles."""
    delivery = _delivery(caller)
    return {"id": delivery.id, "headers": delivery.headers}


@verb("queue.settle")
def settle(caller: Caller, how: str) -> bool:
    """Acknowledge it, or give it back."""
    _delivery(caller).settle(how)
    return True


def _may(caller: Caller, action: str, queue_id: str) -> None:
    if not permitted(caller.runtime, caller.identity, action, queue_id, caller.pid):
        raise HostError("Invalid", f"not allowed to {action}: {queue_id}")  # of this kind in the reference runtime


def _errors(queue: BoundQueue) -> tuple[type[BaseException], ...]:
    return (*queue.errors, StoreError)


def _delivery(caller: Caller) -> Delivery:
    found = caller.kept.get(DELIVERY)
    if not isinstance(found, Delivery):
        raise HostError("Invalid", "there is no message: this code was not called by a queue consumer")
    return found


def _find(caller: Caller, queue_id: str) -> BoundQueue:
    try:
        return BoundQueue.of(caller.runtime, queue_id)
    except EntryNotFoundError as error:
        raise HostError("Internal", str(error)) from None


def _checked(headers: dict[str, Any] | list[Any]) -> dict[str, Any]:
    if isinstance(headers, list):
        raise HostError("Invalid", "the keys of headers are strings")
    for name, value in headers.items():
        if name.startswith(_RESERVED):
            raise HostError("Invalid", f"the header {name!r} is reserved: names of headers do not begin with x_")
        if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
            raise HostError("Invalid", f"the header {name!r} must be a string, a number or a boolean")
        if name != "priority" and name in PROPERTIES and not isinstance(value, str):
            raise HostError("Invalid", f"the header {name!r} must be a string")
    priority = headers.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= _MOST_PRIORITY:
        raise HostError("Invalid", f"the header 'priority' must be a whole number of 0 to {_MOST_PRIORITY}")
    return headers
