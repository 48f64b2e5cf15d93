"""Producers for RabbitMQ that wait until the broker has what they send.

RabbitMQ confirms messages only when it is asked to, and Celery does not ask: what is on its way when the broker dies,
or written to a connection that the broker has left, is lost without a word. The application's own producers stay as
they are; these have connections of their own, because a channel confirms either everything or nothing.

Source: ``basic_publish_confirm`` of py-amqp 5 (amqp/channel.py); ``confirm_publish`` of kombu 5.7
(kombu/transport/pyamqp.py).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final, cast

from amqp.exceptions import MessageNacked
from celery import Celery
from kombu import Producer
from kombu.connection import ConnectionPool
from kombu.pools import ProducerPool

__all__ = ["REFUSED", "ConfirmedProducers"]

REFUSED: Final[tuple[type[BaseException], ...]] = (MessageNacked,)
"""What publishing raises when the broker says that it does not take a message: its queue is full, or has no leader."""

_CONFIRM_S: Final = 10.0
"""A broker that is out of memory or disk takes messages in and confirms none."""
_MOST_CONNECTIONS: Final = 1_000
"""So many are never open: whoever publishes may come to publish something else before it is done."""


_Producer: Any = Producer
_ConnectionPool: Any = ConnectionPool
_ProducerPool: Any = ProducerPool


class _ConfirmedProducer(_Producer):  # type: ignore[misc]
    def publish(self, body: Any, **options: Any) -> Any:
        if options.get("confirm_timeout") is None:  # Celery passes None
            options["confirm_timeout"] = _CONFIRM_S
        return super().publish(body, **options)

    def _publish(self, *args: Any, **options: Any) -> Any:
        try:
            return super()._publish(*args, **options)
        except MessageNacked:
            raise  # an answer, and the one to this message
        except BaseException:
            # The answer may come later, and a channel takes the next one that comes as that to its next message.
            self.__connection__.collect()
            raise


class _Pool(_ProducerPool):  # type: ignore[misc]
    Producer = _ConfirmedProducer


class ConfirmedProducers:
    """A pool of them; connections are opened as they are needed.

    Args:
        app: The Celery application, whose broker is RabbitMQ.
    """

    def __init__(self, app: Celery) -> None:
        connection = app.connection_for_write(transport_options={"confirm_publish": True})
        self._connections = _ConnectionPool(connection, limit=_MOST_CONNECTIONS)
        self._producers = _Pool(self._connections, limit=_MOST_CONNECTIONS)

    def acquire(self) -> AbstractContextManager[Producer]:
        """A producer for a ``with`` block."""
        return cast("AbstractContextManager[Producer]", self._producers.acquire(block=True))

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._producers.force_close_all()
        self._connections.force_close_all()
