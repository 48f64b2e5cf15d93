"""Messages in the hands of a consumer that dies come back within seconds, with Redis as the broker too.

kombu's Redis transport keeps what a worker has received in ``unacked`` and gives it back after the visibility timeout,
an hour by default, by the clocks of the workers. Consumers of queues keep theirs in keys of their own, where the time
is Redis' and put forward by a heartbeat while the process lives: what has not been put forward for
``orchestration_dead_after_ms`` goes back, and each such death counts as a failed attempt. Other brokers see the
connection break.

Source: ``QoS`` of kombu 5.7 (kombu/transport/redis.py, kombu/transport/virtual/base.py).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, cast

from kombu.transport import redis, virtual

from orchestration.store.keys import Keyspace

__all__ = ["ATTEMPTS", "LeasedQoS", "RedisClock", "broker_options", "install_leases"]

logger = logging.getLogger(__name__)

ATTEMPTS: Final = "x_attempts"
"""Header: how many attempts to handle a message have failed."""
_MOST_AT_ONCE: Final = 100

_Plain: Any = virtual.QoS
_Redis: Any = redis.QoS


class RedisClock:
    """The broker's time, told from this process's monotonic clock and looked at now and then."""

    def __init__(self) -> None:
        self._ahead_s: float | None = None

    def read(self, client: Any) -> float:
        """Look at the broker's clock; seconds since 1970."""
        seconds, micros = client.time()
        now: float = seconds + micros / 1_000_000
        self._ahead_s = now - time.monotonic()
        return now

    def now(self, client: Any) -> float:
        """The time, as of the last look."""
        return self.read(client) if self._ahead_s is None else time.monotonic() + self._ahead_s


class LeasedQoS(_Redis):  # type: ignore[misc]
    """Holds messages for as long as somebody says that this process lives."""

    clock: RedisClock
    held: dict[str, None]

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take in a received message."""
        delivery = message.delivery_info
        packed = json.dumps([message._raw, delivery["exchange"], delivery["routing_key"]])
        with self.channel.conn_or_acquire() as client:
            now = self.clock.now(client)
            client.pipeline().zadd(self.unacked_index_key, {delivery_tag: now}).hset(
                self.unacked_key, delivery_tag, packed
            ).execute()
        self.held[delivery_tag] = None
        _Plain.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """A message has been taken care of."""
        super().ack(delivery_tag)
        self.held.pop(delivery_tag, None)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """A message is not wanted here."""
        super().reject(delivery_tag, requeue=requeue)
        self.held.pop(delivery_tag, None)

    def restore_unacked(self, client: Any = None) -> None:
        """The channel closes: put everything back."""
        self._flush()
        super().restore_unacked(client)
        self.held.clear()

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: :meth:`give_back_expired` is called by the keeper, not by everyone who waits for a message."""

    # For the keeper --------------------------------------------------------------------------------------------------

    def put_forward(self, tags: list[str]) -> None:
        """Say that the messages with these tags are still in living hands."""
        with self.channel.conn_or_acquire() as client:
            now = self.clock.read(client)
            if tags:
                client.zadd(self.unacked_index_key, dict.fromkeys(tags, now), xx=True)

    def give_back_expired(self, lease_s: float) -> int:
        """Give back what nobody has put forward for so long; returns the number of messages."""
        with self.channel.conn_or_acquire() as client:
            expired = client.zrangebyscore(
                self.unacked_index_key, 0, self.clock.now(client) - lease_s, start=0, num=_MOST_AT_ONCE
            )
            for tag in expired:
                self._give_back(client, tag)
        return len(expired)

    def give_back(self, tags: list[str]) -> None:
        """Give back what this process has not finished."""
        for tag in tags:
            self.restore_by_tag(tag)

    def _give_back(self, client: Any, tag: Any) -> None:
        def move(pipe: Any) -> None:
            packed = pipe.hget(self.unacked_key, tag)
            pipe.multi()
            self._remove_from_indices(tag, pipe)
            if packed:
                message, exchange, routing_key = json.loads(packed)
                headers = message.setdefault("headers", {})
                headers[ATTEMPTS] = attempts_of(headers) + 1
                # leftmost is the tail: messages are taken from the right
                self.channel._do_restore_message(message, exchange, routing_key, pipe, True)

        client.transaction(move, self.unacked_key)


def attempts_of(headers: Mapping[str, Any]) -> int:
    """How many attempts to handle a message have failed so far."""
    found = 0
    for name in (ATTEMPTS, "x-delivery-count"):  # the latter is counted by quorum queues of RabbitMQ
        value = headers.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            found += value
    return found


def broker_options(keyspace: Keyspace, lease_s: float) -> dict[str, Any]:
    """Transport options of a consumer's connection; brokers other than Redis ignore them."""
    return {
        "unacked_key": keyspace.deliveries("held"),
        "unacked_index_key": keyspace.deliveries("since"),
        "unacked_mutex_key": keyspace.deliveries("turn"),
        "visibility_timeout": lease_s,
    }


def install_leases(channel: Any, clock: RedisClock) -> LeasedQoS | None:
    """Use leases on a channel of a consumer's connection; None when its broker does without."""
    found = getattr(channel, "qos", None)
    if type(found) is not redis.QoS:
        return None
    found.__class__ = LeasedQoS
    qos = cast("LeasedQoS", found)
    qos.clock = clock
    qos.held = {}
    return qos


class LeaseKeeper:
    """Says that this process lives, for the messages that its consumers hold, and gives back those of dead ones.

    Args:
        open_connection: Opens a connection to the broker with :func:`broker_options`.
        clock: Of the consumers.
        beat_s: How often.
        lease_s: Silence after which a message goes back.
    """

    def __init__(self, open_connection: Any, clock: RedisClock, *, beat_s: float, lease_s: float) -> None:
        self._open = open_connection
        self._clock = clock
        self._beat_s = beat_s
        self._lease_s = lease_s
        self._holders: set[LeasedQoS] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queue leases", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def add(self, holder: LeasedQoS) -> None:
        """Look after what is held here."""
        with self._lock:
            self._holders.add(holder)

    def discard(self, holder: LeasedQoS) -> None:
        """Its channel is gone, and what it held has gone back or comes back by itself."""
        with self._lock:
            self._holders.discard(holder)

    def stop(self) -> None:
        """End; what is still held goes back at once."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _tags(self) -> list[str]:
        with self._lock:
            return [tag for holder in self._holders for tag in list(holder.held)]

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._open() as connection:
                    self._keep(connection)
            except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, this must go on
                logger.warning("leases of queue messages are not renewed, trying again: %s", error)
                self._stopped.wait(self._beat_s)

    def _keep(self, connection: Any) -> None:
        qos = install_leases(connection.default_channel, self._clock)
        if qos is None:
            self._stopped.wait()
            return
        while not self._stopped.wait(self._beat_s):
            qos.put_forward(self._tags())
            count = qos.give_back_expired(self._lease_s)
            if count:
                logger.warning("messages of dead consumers were given back", extra={"count": count})
        qos.give_back(self._tags())
