"""The broker of an environment: messages that Celery has made, kept in this process until they are delivered."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kombu.utils import json

from orchestration.testing.clock import SkippingClock

__all__ = ["Deliveries", "Delivery", "Hang"]


class Hang(BaseException):
    """Raise it in the place of an activity: the attempt never ends, as when a task hangs. Its timeouts find it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message as a worker would receive it.

    Attributes:
        task: Name of the Celery task.
        id: Of the message.
        args: Positional arguments.
        kwargs: Keyword arguments.
        request: What Celery's tracer is given: headers, properties and embedded callbacks.
    """

    task: str
    id: str
    args: list[Any]
    kwargs: dict[str, Any]
    request: dict[str, Any]


def _as_received(body: Any) -> tuple[list[Any], dict[str, Any], dict[str, Any] | None]:
    """Arguments and embedded callbacks as another process would see them."""
    args, kwargs, embed = json.loads(json.dumps(body))  # type: ignore[no-untyped-call]
    return list(args), dict(kwargs), embed


class Deliveries:
    """Takes the place of ``app.amqp.send_task_message``.

    Args:
        clock: Of the environment; messages with an ETA wait for it.
    """

    def __init__(self, clock: SkippingClock) -> None:
        self._clock = clock
        self._ready: deque[Delivery] = deque()
        self._later: list[tuple[int, int, Delivery]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def put(
        self, producer: Any, name: str, message: Any, *, queue: Any = None, routing_key: str | None = None,
        headers: dict[str, Any] | None = None, **_: Any,
    ) -> None:  # fmt: skip
        """Accept a message; arguments as Celery gives them."""
        del producer
        own, properties, body, _sent_event = message
        args, kwargs, embed = _as_received(body)
        headers = {**own, **(headers or {})}
        queue_name = getattr(queue, "name", queue) or routing_key or ""
        request = {
            **headers, **(embed or {}), "args": args, "kwargs": kwargs, "hostname": "workflow-test", "is_eager": False,
            "reply_to": properties.get("reply_to"), "correlation_id": properties.get("correlation_id"),
            "delivery_info": {"exchange": "", "routing_key": queue_name, "priority": 0, "redelivered": False},
        }  # fmt: skip
        delivery = Delivery(task=name, id=headers["id"], args=args, kwargs=kwargs, request=request)
        eta = headers.get("eta")
        if eta:
            due_ms = int(datetime.fromisoformat(eta).timestamp() * 1000)
            heapq.heappush(self._later, (due_ms, next(self._numbers), delivery))
        else:
            self._ready.append(delivery)

    def take(self) -> Delivery | None:
        """The next message that may be delivered now; None if there is none."""
        while self._later and self._later[0][0] <= self._clock.now_ms:
            self._ready.append(heapq.heappop(self._later)[2])
        return self._pick(self._ready) if self._ready else None

    def put_back(self, delivery: Delivery) -> None:
        """Have a message delivered again, before the others."""
        self._ready.appendleft(delivery)

    def next_due_ms(self) -> int | None:
        """When the first of the messages that wait may be delivered."""
        return self._later[0][0] if self._later else None

    def _pick(self, ready: deque[Delivery]) -> Delivery:
        return ready.popleft()
