"""A ``queue.queue`` entry at the broker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from kombu import Queue as BrokerQueue
from kombu.exceptions import ChannelError

from orchestration.errors import EntryNotFoundError
from orchestration.registry.kinds.queues import Queue
from orchestration.tasks.runtime import Runtime

__all__ = ["BoundQueue"]


class BoundQueue:
    """A queue of the definitions, as the application's broker knows it.

    It is declared exactly as Celery would do it for a queue of this name, so that everybody's declarations agree.

    Args:
        runtime: Of this process.
        entry: The definition.
    """

    def __init__(self, runtime: Runtime, entry: Queue) -> None:
        self._runtime = runtime
        self.entry = entry

    @classmethod
    def of(cls, runtime: Runtime, queue_id: str) -> BoundQueue:
        """The queue of an entry.

        Raises:
            EntryNotFoundError: There is no such entry, or it is no queue.
        """
        entry = runtime.registry.get(queue_id)
        if not isinstance(entry, Queue):
            raise EntryNotFoundError(queue_id, f"it is a {entry.kind}, not a queue.queue")
        return cls(runtime, entry)

    @property
    def name(self) -> str:
        """Its name at the broker."""
        return self.entry.queue_name or self.entry.name

    @property
    def declaration(self) -> BrokerQueue:
        """How it is declared: as the application's ``task_queues`` say, else as Celery makes queues by itself."""
        queues = self._runtime.app.amqp.queues
        found: BrokerQueue = queues[self.name] if self.name in queues else queues.new_missing(self.name)
        return found

    @property
    def dead_letters(self) -> BoundQueue | None:
        """Where its dead letters go."""
        target = self.entry.dead_letter.queue
        return None if target is None else BoundQueue.of(self._runtime, target)

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """What the broker's client raises while the broker is away."""
        return self._runtime.messages.broker_errors

    def sender(self, body: bytes, **options: Any) -> Callable[[Any], object]:
        """What sends a message to its tail with the producer that it is given."""

        def send(producer: Any) -> object:
            return producer.publish(
                body, exchange="", routing_key=self.name, declare=[self.declaration], delivery_mode=2, **options
            )

        return send

    def publish(self, body: bytes, **options: Any) -> None:
        """Send a message to its tail, and return when the broker has it.

        Raises:
            Exception: One of :attr:`errors`: the broker is away.
        """
        options.pop("delivery_mode", None)
        policy = self._runtime.app.conf.task_publish_retry_policy
        with self._runtime.messages.producer() as producer:
            self.sender(body, retry=True, retry_policy=policy, **options)(producer)

    def info(self) -> dict[str, Any]:
        """Ask the broker how many messages wait, and, where it says so, how many consumers there are."""
        with self._runtime.app.pool.acquire(block=True) as connection:
            channel = connection.channel()
            try:
                bound: Any = self.declaration(channel)
                found = bound.queue_declare(passive=True)
            except ChannelError:
                return {"message_count": 0, "ready": False}
            finally:
                with contextlib.suppress(Exception):
                    channel.close()
            state: dict[str, Any] = {"message_count": int(found.message_count), "ready": True}
            if connection.transport.driver_type == "amqp":
                state["consumer_count"] = int(found.consumer_count)
            return state
