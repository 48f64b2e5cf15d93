"""Messages of this package are not kept a second time in the broker while a worker has them.

Celery's Redis transport writes every received message to ``unacked`` and takes it out again: two transactions a
message, which bring it back an hour after its worker died. The messages of attempts and wake-ups do not need that: the
store knows what is open, and the sweep sends what is lost within seconds. They are counted for the prefetch like all
others, put back by a worker that goes down in order, and cost the broker one pop.

Source: ``QoS`` of kombu 5.7 (kombu/transport/redis.py, kombu/transport/virtual/base.py).
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis, virtual

from orchestration.tasks.messages import MARK, RESUME_TASK

__all__ = ["StoreBackedQoS", "install_qos"]


_Plain: Any = virtual.QoS
_Redis: Any = redis.QoS


class StoreBackedQoS(_Redis):  # type: ignore[misc]
    """Keeps messages that the store can make again in memory only."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take in a received message."""
        if _is_made_again(message):
            _Plain.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """A message has been taken care of."""
        if _is_made_again(self._delivered.get(delivery_tag)):
            _Plain.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """A message is not wanted here; with ``requeue`` it goes back to the head of its queue."""
        message = self._delivered.get(delivery_tag)
        if not _is_made_again(message):
            super().reject(delivery_tag, requeue=requeue)
            return
        if requeue:
            with self.channel.conn_or_acquire() as client:
                self._put_back(message, client, leftmost=True)
        _Plain.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """The channel closes: put everything back."""
        self._flush()
        mine = {tag: message for tag, message in self._delivered.items() if _is_made_again(message)}
        with self.channel.conn_or_acquire(client) as client_:
            for tag, message in mine.items():
                self._put_back(message, client_, leftmost=False)
                self._delivered.pop(tag)
            super().restore_unacked(client_)

    def _put_back(self, message: Any, client: Any, *, leftmost: bool) -> None:
        delivery = message.delivery_info
        self.channel._do_restore_message(
            message._raw, delivery["exchange"], delivery["routing_key"], client, leftmost
        )


def _is_made_again(message: Any) -> bool:
    headers: dict[str, Any] = getattr(message, "headers", None) or {}
    return MARK in headers or headers.get("task") == RESUME_TASK


def install_qos(channel: Any) -> None:
    """Use it on a consumer's channel, if that is Celery's plain Redis transport."""
    qos = getattr(channel, "qos", None)
    if type(qos) is redis.QoS:
        qos.__class__ = StoreBackedQoS
