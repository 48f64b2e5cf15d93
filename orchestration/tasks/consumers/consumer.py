"""A ``queue.consumer`` entry at work: threads that each take a message, call the function, and settle the message."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import deque
from typing import Any

import kombu

from orchestration.core.events import Code
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import service_identity
from orchestration.registry.kinds.queues import QueueConsumer
from orchestration.store.inputs import encode_input
from orchestration.tasks.consumers.bodies import UndecodableError, decode
from orchestration.tasks.consumers.delivery import Delivery
from orchestration.tasks.consumers.handlers import call_handler
from orchestration.tasks.consumers.leases import LeaseKeeper, RedisClock, broker_options, install_leases
from orchestration.tasks.consumers.queues import BoundQueue
from orchestration.tasks.runtime import Runtime

__all__ = ["DELIVERY", "Consumers"]

logger = logging.getLogger(__name__)

DELIVERY = "queue.delivery"
"""Where a caller keeps the message that it handles."""

_Consumer: Any = kombu.Consumer
_LOOK_EVERY_S = 1.0
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_LONGEST_WAIT_S = 30.0


class _Slot:
    """One message at a time, on a connection of its own: nothing of kombu is shared between threads."""

    def __init__(self, owner: Consumers, entry: QueueConsumer, queue: BoundQueue, number: int) -> None:
        self._owner = owner
        self._entry = entry
        self._queue = queue
        self._running: Caller | None = None
        self._identity = service_identity(owner.runtime.registry.policies, entry.lifecycle.security)
        self._prefetch = max(-(-entry.prefetch // entry.concurrency), 1)
        self.thread = threading.Thread(target=self._run, name=f"{entry.id}/{number}", daemon=True)

    def cancel(self) -> None:
        """Tell the function that runs that it should come to an end."""
        running = self._running
        if running is not None:
            running.answer(encode_input(Code.CANCEL_REQUESTED, "the consumer stops", ""))

    def _run(self) -> None:
        wait_s = _PAUSE_S
        while not self._owner.stopping.is_set():
            begun = time.monotonic()
            try:
                with self._owner.connect() as connection:
                    self._consume(connection)
            except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, a consumer goes on
                if self._owner.stopping.is_set():
                    return
                if time.monotonic() - begun > _LONGEST_WAIT_S:
                    wait_s = _PAUSE_S
                logger.warning(
                    "a queue consumer lost its broker, trying again: %s", error, extra={"consumer": self._entry.id}
                )
                self._owner.stopping.wait(wait_s * random.uniform(0.5, 1.5))
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    def _consume(self, connection: Any) -> None:
        channel = connection.channel()
        held = install_leases(channel, self._owner.clock)
        if held is not None:
            self._owner.keeper.add(held)
        arrived: deque[Any] = deque()
        try:
            consumer = _Consumer(channel, [self._queue.declaration], on_message=arrived.append, auto_declare=True)
            consumer.qos(prefetch_count=self._prefetch)
            with consumer:
                while not self._owner.stopping.is_set():
                    if arrived:
                        self._handle(arrived.popleft())
                        continue
                    with contextlib.suppress(TimeoutError):
                        connection.drain_events(timeout=_LOOK_EVERY_S)
        finally:
            if held is not None:
                self._owner.keeper.discard(held)

    def _handle(self, message: Any) -> None:
        entry = self._entry
        delivery = Delivery(message, self._queue, settled=entry.auto_ack)
        try:
            args = decode(message)
        except UndecodableError as error:
            delivery.bury(f"it cannot be read: {error}")
            return
        most = self._queue.entry.dead_letter.max_attempts
        if most and delivery.attempts >= most:  # its consumers died over it
            delivery.bury("the consumer died while it was handled")
            return
        if entry.auto_ack:
            message.ack()
        failure: Exception | None = None
        try:
            call_handler(
                self._owner.runtime, entry.func, args, identity=self._identity,
                on_start=lambda caller: self._started(caller, delivery),
            )  # fmt: skip
        except UndecodableError as error:
            if entry.auto_ack:
                logger.error("a message was thrown away: it cannot be read", extra={"consumer": entry.id})
            else:
                delivery.bury(f"it cannot be read: {error}")
            return
        except Exception as error:  # noqa: BLE001 - whatever the function raises, the message is given back
            failure = error
            logger.warning(
                "the function of a queue consumer failed: %s", getattr(error, "kind", "") or type(error).__name__,
                extra={"consumer": entry.id, "message_id": delivery.id, "attempt": delivery.attempts + 1},
            )  # fmt: skip
        finally:
            self._running = None
            delivery.release()
        if failure is not None and not entry.auto_ack:
            # Held meanwhile: a message that fails at once must not go round and round as fast as the broker can.
            pause_s = min(_PAUSE_S * 2 ** min(delivery.attempts, 10), _LONGEST_PAUSE_S)
            self._owner.stopping.wait(pause_s * random.uniform(0.5, 1.0))
        delivery.finish(failure)

    def _started(self, caller: Caller, delivery: Delivery) -> None:
        caller.kept[DELIVERY] = delivery
        self._running = caller
        if self._owner.stopping.is_set():
            self.cancel()


class Consumers:
    """The queue consumers of one process.

    Args:
        runtime: Of this process.
        entries: Which; see :func:`orchestration.tasks.consumers.serving.served`.
    """

    def __init__(self, runtime: Runtime, entries: list[QueueConsumer]) -> None:
        settings = runtime.settings
        self.runtime = runtime
        self.entries = entries
        self.stopping = threading.Event()
        self.clock = RedisClock()
        keyspace = runtime.store(settings.namespace).keyspace
        self._options = broker_options(keyspace, settings.dead_after_ms / 1000)
        self.keeper = LeaseKeeper(
            self.connect, self.clock, beat_s=settings.heartbeat_ms / 1000, lease_s=settings.dead_after_ms / 1000
        )
        self._slots = [
            _Slot(self, entry, BoundQueue.of(runtime, entry.queue), number)
            for entry in entries
            for number in range(entry.concurrency)
        ]

    def connect(self) -> Any:
        """A connection of its own to the broker."""
        app = self.runtime.app
        return app.connection_for_read(heartbeat=0, transport_options=self._options)

    def start(self) -> None:
        """Begin to take messages; does not wait for the broker."""
        self.keeper.start()
        for slot in self._slots:
            slot.thread.start()
        for entry in self.entries:
            logger.info("queue consumer started", extra={"consumer": entry.id, "concurrency": entry.concurrency})

    def stop(self, *, timeout_s: float | None = None) -> bool:
        """Take no more messages, tell the functions that run, and wait for them; the rest of the messages go back.

        Args:
            timeout_s: How long to wait; None: the longest ``lifecycle.stop_timeout``.

        Returns:
            Whether all have ended.
        """
        if timeout_s is None:
            timeout_s = max((entry.lifecycle.stop_timeout for entry in self.entries), default=0) / 1000
        deadline = time.monotonic() + timeout_s
        self.stopping.set()
        for slot in self._slots:
            slot.cancel()
        for slot in self._slots:
            slot.thread.join(max(deadline - time.monotonic(), 0))
        self.keeper.stop()
        return not any(slot.thread.is_alive() for slot in self._slots)
