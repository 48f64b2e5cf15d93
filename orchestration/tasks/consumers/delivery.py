"""One message in the hands of a consumer: what it says, and how it is settled."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from orchestration.core.lua.host import HostError
from orchestration.tasks.consumers.leases import ATTEMPTS, attempts_of

if TYPE_CHECKING:
    from orchestration.tasks.consumers.queues import BoundQueue

__all__ = ["PROPERTIES", "Delivery"]

logger = logging.getLogger(__name__)

PROPERTIES: Final[Mapping[str, str]] = {
    "correlation_id": "correlation_id",
    "message_type": "type",
    "priority": "priority",
    "reply_to": "reply_to",
}
"""Neutral headers that are properties of an AMQP message, by the property's name."""
_KEPT: Final = ("app_id", "correlation_id", "message_id", "priority", "reply_to", "timestamp", "type")
"""Properties of its sender that a copy has; the others are those of one way through the broker."""


class Delivery:
    """A received message.

    It is settled once: acknowledged, or given back to the tail of its queue. Any thread may do so, one at a time, while
    the thread that received it waits for the function.

    Args:
        message: As kombu received it.
        queue: Where it came from.
        settled: It was acknowledged before the function runs.
    """

    def __init__(self, message: Any, queue: BoundQueue, *, settled: bool = False) -> None:
        self._message = message
        self._queue = queue
        self._lock = threading.Lock()
        self._settled = settled
        self._released = False
        self.attempts = attempts_of(message.headers)

    @property
    def id(self) -> str:
        """What its sender called it, else what the broker does."""
        headers, properties = self._message.headers, self._message.properties
        return str(properties.get("message_id") or headers.get("id") or self._message.delivery_tag)

    @property
    def settled(self) -> bool:
        """Whether it has been acknowledged or given back."""
        return self._settled

    @property
    def headers(self) -> dict[str, Any]:
        """Its headers, and the properties that are headers here; only what Lua can hold."""
        found = {
            name: self._message.properties.get(own)
            for name, own in PROPERTIES.items()
            if self._message.properties.get(own) not in (None, "")
        }
        if found.get("priority") == 0:  # what kombu writes when nothing was said
            del found["priority"]
        found |= {str(name): value for name, value in self._message.headers.items()}
        if tried := attempts_of(self._message.headers):  # those that RabbitMQ has counted among them
            found[ATTEMPTS] = tried
        return {name: value for name, value in found.items() if isinstance(value, str | int | float | bool)}

    def settle(self, how: str) -> None:
        """Acknowledge it (``ack``) or give it back (``nack``), for the code that handles it.

        Raises:
            HostError: ``Invalid``: that has been done, or its handler has ended. ``Unavailable``: the broker is away.
        """
        with self._lock:
            if self._released:
                raise HostError("Invalid", "queue.Message released")
            if self._settled:
                raise HostError("Invalid", "queue.Message already settled")
            try:
                if how == "ack":
                    self._message.ack()
                else:
                    self._give_back("the handler gave it back")
            except self._queue.errors as error:
                raise HostError("Unavailable", f"the broker is away: {error}", retryable=True) from error
            self._settled = True

    def release(self) -> None:
        """The handler has ended: what it still holds of this message is of no use."""
        with self._lock:
            self._released = True

    def finish(self, error: BaseException | None) -> None:
        """Settle it as the handler has ended, unless the handler has settled it.

        Raises:
            Exception: The broker is away: the message comes again by itself.
        """
        if self._settled:
            return
        if error is None:
            self._message.ack()
        else:
            self._give_back(f"{getattr(error, 'kind', '') or type(error).__name__}: {error}")
        self._settled = True

    def bury(self, why: str) -> None:
        """Handle it no more: to the queue for dead letters, else nowhere."""
        extra = {"queue": self._queue.entry.id, "message_id": self.id}
        if self._queue.dead_letters is None:
            text = "a message was thrown away: %s (its queue has no dead_letter.queue)"
            logger.error(text, _first_words(why), extra=extra)
        else:
            headers = {"x_queue": self._queue.entry.id, "x_reason": why[:1000], ATTEMPTS: self.attempts}
            self._publish(self._queue.dead_letters, headers)
            logger.warning("a message went to the queue of dead letters: %s", _first_words(why), extra=extra)
        self._message.ack()
        self._settled = True

    def _give_back(self, why: str) -> None:
        """To the tail of its queue, or to the dead letters after the last attempt.

        The copy is sent before the original is acknowledged: a death between the two leaves both.
        """
        self.attempts += 1
        most = self._queue.entry.dead_letter.max_attempts
        if most and self.attempts >= most:
            self.bury(why)
            return
        self._publish(self._queue, {ATTEMPTS: self.attempts})
        self._message.ack()

    def _publish(self, queue: BoundQueue, headers: Mapping[str, Any]) -> None:
        """Send a copy, without what is so wrong that no broker would take it: the message has to end somewhere."""
        message = self._message
        properties = {
            name: value
            for name in _KEPT
            if isinstance(value := message.properties.get(name), str | int) or hasattr(value, "isoformat")
        }
        with contextlib.suppress(TypeError, ValueError):
            if expiration := message.properties.get("expiration"):
                properties["expiration"] = int(expiration) / 1000  # kombu takes seconds, AMQP has ms
        kept = {
            name: value
            for name, value in message.headers.items()
            if name not in ("x-delivery-count", "redelivered", "compression")
        }
        queue.publish(
            b"" if message.body is None else message.body,
            content_type=str(message.content_type or "application/data"),
            content_encoding=str(message.content_encoding or "binary"),
            headers={**kept, **headers},
            **properties,
        )


def _first_words(why: str) -> str:
    """What the log may have of a reason: the texts of errors may quote values."""
    return why.partition(":")[0][:100]
