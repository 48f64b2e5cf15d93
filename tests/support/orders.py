"""Environments whose deliveries come in any order, and ones that are given the inputs that another engine recorded."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

from orchestration.core import events, payload
from orchestration.core.events import Event
from orchestration.store.results import StartResult
from orchestration.store.store import Store
from orchestration.testing import RecordedHistory, WorkflowEnvironment
from orchestration.testing.deliveries import Delivery

__all__ = ["MirrorEnvironment", "ShuffledEnvironment", "shape"]

_NEAR_MS = 1_000
"""Timers this near may overtake messages that are on their way."""


class ShuffledEnvironment(WorkflowEnvironment):
    """Messages, outbox entries and near timers come in any order; messages and entries also twice; machines get lost.

    Args:
        chance: Decides.
        options: As :class:`WorkflowEnvironment` takes them.
    """

    def __init__(self, chance: random.Random, **options: Any) -> None:
        super().__init__(**options)
        self._chance = chance
        self._put_off: list[tuple[Store, str, bytes, bool]] = []
        self._perform = self._parts.engine.outbox.perform
        self._parts.engine.outbox.perform = self._put_entries_off  # type: ignore[method-assign]
        self.deliveries._pick = self._pick  # type: ignore[method-assign]

    def _put_entries_off(
        self, store: Store, entries: Iterable[tuple[str, bytes]], *, sent: bool = False, is_first: bool = False
    ) -> None:
        del is_first  # some are performed more than once
        self._put_off += [(store, name, entry, sent) for name, entry in entries]

    def _pick(self, ready: deque[Delivery]) -> Delivery:
        ready.rotate(-self._chance.randrange(len(ready)))
        delivery = ready.popleft()
        if self._chance.random() < 0.2:
            ready.append(delivery)
        return delivery

    def _step(self) -> bool:
        if self._chance.random() < 0.2:
            self._parts.runtime.cache.clear()
        if self._chance.random() < 0.3:
            due_ms = self._next_due_ms()
            if due_ms is not None and due_ms - self.clock.now_ms <= _NEAR_MS:
                self.clock.skip_to(due_ms)
                self._sweeper.turn()
        if self._put_off and self._chance.random() < 0.5:
            return self._perform_one()
        return super()._step() or self._perform_one()

    def _perform_one(self) -> bool:
        if not self._put_off:
            return False
        at = self._chance.randrange(len(self._put_off))
        store, name, entry, sent = self._put_off[at] if self._chance.random() < 0.2 else self._put_off.pop(at)
        self._perform(store, [(name, entry)], sent=sent)
        return True


class MirrorEnvironment(WorkflowEnvironment):
    """An engine that is given, one by one, the inputs that another one recorded. What it sends goes nowhere."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._parts.engine.outbox.perform = lambda *_, **__: None  # type: ignore[method-assign]

    def mirror(self, recorded: RecordedHistory) -> list[bytes]:
        """Give the inputs of a run at their times.

        Args:
            recorded: The run, in this environment's definitions.

        Returns:
            The history that this engine writes.
        """
        inputs = [event for event in recorded.events if not events.is_command(event)]
        started = events.decode(inputs[0])
        assert isinstance(started, events.Started)
        runtime, namespace = self._parts.runtime, started.meta["namespace"]
        store = runtime.store(namespace)
        run_id, workflow_id = started.meta["run_id"], started.meta["workflow_id"]
        bundle = self.registry.bundle(recorded.type)
        self.clock.now_ms = started.time_ms
        answer = start_run(store, run_id, workflow_id, recorded.type, bundle, _without_time(inputs[0]))
        assert answer.status == "started"
        self._parts.engine.take_up(namespace, run_id)
        for number, event in enumerate(inputs[1:]):
            self.clock.now_ms = events.decode(event).time_ms  # type: ignore[attr-defined]
            store.runs.deliver(run_id, _without_time(event), request_id=f"{run_id}/{number}")
            self._parts.engine.take_up(namespace, run_id)
        return list(store.runs.history(run_id))


def start_run(store: Store, run_id: Any, workflow_id: Any, entry_id: str, bundle: Any, item: bytes) -> StartResult:
    """Write a run with the very start that was recorded."""
    return store.runs.start(
        run_id, workflow_id, request_id=run_id, digest=bundle.digest, bundle=bundle.encode(),
        fields={"type": entry_id}, extra={}, inputs=[item], conflict="fail", reuse="allow_duplicate",
        run_timeout_ms=0,
    )  # fmt: skip


def _without_time(event: bytes) -> bytes:
    """The input as it was before :func:`orchestration.store.inputs.stamp`."""
    assert event[2] == 0xCF
    return event[:2] + event[11:]


def shape(history: Iterable[Event]) -> Counter[str]:
    """What a run asked for and got, without the order, the numbers and the times."""
    told: Counter[str] = Counter()
    for event in history:
        match event:
            case events.ScheduleActivity():
                told[f"activity {event.target} {payload.decode(event.args)} {event.options}"] += 1
            case events.StartTimer():
                told[f"timer {event.delay_ms}"] += 1
            case events.StartChild():
                told[f"child {event.type} {event.host} {payload.decode(event.args)}"] += 1
            case events.SendSignal():
                told[f"send {event.topic} {payload.decode(event.args)}"] += 1
            case events.Signal():
                told[f"signal {event.topic} {payload.decode(event.args)}"] += 1
            case events.Complete():
                told[f"result {payload.decode(event.result)}"] += 1
            case events.Fail():
                failure = payload.decode_failure(event.failure)
                told[f"failure {failure['kind']} {failure['message']}"] += 1
            case events.Started():
                told[f"start {payload.decode(event.args)}"] += 1
            case _:
                told[type(event).__name__] += 1
    return told
