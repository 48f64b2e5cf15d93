"""A broker that misbehaves: every message passes a relay, which may give it out twice or lose it.

Publishers put messages where they always do. Workers started with ``FAULTS_RELAY=1`` read from keys of other names;
a thread here carries each message over. So it sees every message, also those that scripts of the store push.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import redis

__all__ = ["Relay", "dropped_once", "duplicated", "read_from_relay"]

_PREFIX: Final = "relayed."

Rule = Callable[[str, int], int]
"""From a message's identity and how often it has been seen, this time included: how many copies go on."""


def duplicated(identity: str, seen: int) -> int:
    """Every message arrives twice."""
    del identity, seen
    return 2


def dropped_once(identity: str, seen: int) -> int:
    """Every message is lost when it is first sent.

    A wake-up has no identity beyond its run and timer, and the next one is another message: every second one is lost.
    """
    del identity
    return 1 if seen % 2 == 0 else 0


def read_from_relay() -> None:
    """Have the workers of this process read from the relay's keys."""
    from kombu.transport import redis as module

    transport: Any = module

    class RelayedChannel(transport.Channel):  # type: ignore[misc]
        reading = False

        def _brpop_start(self, timeout: Any = None) -> None:
            self.reading = True
            try:
                super()._brpop_start(timeout)
            finally:
                self.reading = False

        def _q_for_pri(self, queue: str, pri: Any) -> str:
            key: str = super()._q_for_pri(queue, pri)
            return _PREFIX + key if self.reading else key

    class RelayedTransport(transport.Transport):  # type: ignore[misc]
        Channel = RelayedChannel

        def _deliver(self, message: Any, queue: str) -> None:
            super()._deliver(message, queue.removeprefix(_PREFIX))

    transport.Transport = RelayedTransport
    from kombu import transport as transports

    transports._transport_cache["redis"] = RelayedTransport


class Relay:
    """Carries messages from queues to the workers; a context manager.

    Args:
        url: The broker.
        queues: Names of the queues.
        rule: What becomes of each message.

    Attributes:
        seen: How often each message has been sent.
        copies: Messages given out.
    """

    def __init__(self, url: str, queues: Sequence[str], rule: Rule) -> None:
        self._client = redis.Redis.from_url(url)
        self._queues = list(queues)
        self._rule = rule
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="relay", daemon=True)
        self.seen: Counter[str] = Counter()
        self.copies = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)
        self._client.close()

    def _carry(self) -> None:
        while not self._stopped.is_set():
            found: Any = self._client.brpop(self._queues, timeout=0.2)
            if found is None:
                continue
            queue, message = found[0].decode(), found[1]
            identity = identity_of(message)
            self.seen[identity] += 1
            copies = self._rule(identity, self.seen[identity])
            if copies:
                self.copies += copies
                with contextlib.suppress(redis.ConnectionError):
                    self._client.lpush(_PREFIX + queue, *[message] * copies)


def identity_of(message: bytes) -> str:
    """What a message is for: its task and task id; of a wake-up, whose id is new each time, its arguments."""
    headers = json.loads(message)["headers"]
    if headers["task"] == "orchestration.resume":
        return f"resume {headers['argsrepr']}"
    return f"{headers['task']} {headers['id']}"
