"""Orders under fault: started, watched to their end, and checked for what no fault may change."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis
from celery import Celery
from celery.result import AsyncResult

from examples.ledger import LEDGER_VARIABLE, Ledger
from orchestration import Client
from orchestration.client import WorkflowHandle
from orchestration.core import events
from orchestration.errors import OrchestrationError, WorkflowNotFoundError
from tests.support.fault_app import ACTIVITIES, make_app
from tests.support.waiting import wait_until
from tests.support.workers import WorkerProcess, start_worker

__all__ = ["ORDER", "QUEUES", "Bench", "Follower", "assert_store_clean", "expected_result", "follow"]

ORDER: Final = "faults:order"
QUEUES: Final = ("faults", "celery")

_KEPT: Final = (
    "wf", "req", "run", "extra", "hist", "bundle", "closed-runs", "frontier", "index", "types", "ended", "updates",
    "shown",
)  # fmt: skip
"""What the store keeps of runs that have ended, until their retention is over, or until it looks at them again."""


def expected_result(order_id: str, by: str = "Ana") -> dict[str, Any]:
    """What ``faults:order`` returns when nothing happens to it; nothing may change it."""

    def step(name: str, value: int) -> int:
        return value * 3 + len(name)

    value = step("charge", step("reserve", 1))
    value = step("pack", value)  # beside it, invoice is given the same
    for name in ("label", "ship", "notify", "archive"):
        value = step(name, value)
    return {"order_id": order_id, "value": value, "by": by, "trail": list(ACTIVITIES)}


def assert_store_clean(
    url: str, *, queues: Iterable[str] = QUEUES, broker_url: str = "", deadline_s: float = 10
) -> None:
    """All runs have ended: nothing but what is kept of them may stay behind, in the store and in the queues.

    The last traces go when the sweep passes, so there is a deadline.
    """
    store, broker = redis.Redis.from_url(url), redis.Redis.from_url(broker_url or url)

    def left() -> list[str]:
        keys: list[str] = [key.decode() for key in store.scan_iter("orc:{*")]
        found = [key for key in keys if key.split("}:", 1)[1].split(":", 1)[0] not in _KEPT]
        return sorted(found) + [queue for queue in queues if broker.llen(queue)]

    try:
        wait_until(lambda: not left(), deadline_s=deadline_s, message=lambda: f"left behind: {left()}", every_s=0.05)
    finally:
        store.close()
        broker.close()


@dataclass
class Follower:
    """Watches one order, gives it its signal, and sees when it is done.

    Attributes:
        name: Of the scenario, for messages.
        bench: Where it runs.
        order_id: The order; also its workflow id.
        task_id: Of the Celery task whose result is the run's; None: known from the run.
        done_at: When its result was seen, in seconds of the wall clock.
        parked: Why it waits for an operator; no fault may lead to that.
    """

    name: str
    bench: Bench
    order_id: str
    task_id: str | None = None
    length: int = 0
    signalled: bool = False
    done_at: float = 0.0
    parked: str = ""
    events: list[events.Event] = field(default_factory=list)

    @property
    def handle(self) -> WorkflowHandle:
        return self.bench.client.get_workflow(self.order_id)

    def look(self) -> bool:
        """Look once; True when the run has ended and its Celery task has a result."""
        if self.done_at:
            return True
        handle = self.handle
        try:
            seen = handle.describe()
        except WorkflowNotFoundError:
            return False  # a plain start that no worker has taken up yet
        self.parked = seen.parked
        if seen.history_length != self.length:
            self.events = list(handle.history())
            self.length = len(self.events)
        if not self.signalled and self.completed >= 4:
            handle.signal("approved", {"by": "Ana"}, request_id=f"approve-{self.order_id}")
            self.signalled = True
        if self.events and isinstance(self.events[-1], events.Complete | events.Fail):
            result = AsyncResult(self.task_id or handle.run_id, app=self.bench.app)
            if result.ready():
                self.done_at = time.time()
        return bool(self.done_at)

    @property
    def completed(self) -> int:
        """Activities whose result is in the history."""
        return sum(isinstance(event, events.ActivityCompleted) for event in self.events)

    def longest_pause_s(self, since: float) -> float:
        """Longest time without an input or the end, from a moment of the wall clock on."""
        times = [float(event.time_ms) / 1000 for event in self.events if hasattr(event, "time_ms")]
        moments = [since, *(moment for moment in times if moment > since), max(self.done_at, since)]
        return max(after - before for before, after in itertools.pairwise(moments))

    def story(self) -> str:
        """Where it stands, for people who look for the reason."""
        try:
            return f"{self.length} events, last {self.events[-1:]}, {self.handle.describe()}"
        except OrchestrationError as error:
            return f"{self.length} events, last {self.events[-1:]}, {error}"

    def check(self, *, faults: int = 0) -> None:
        """Nothing shows that anything happened.

        Args:
            faults: Kills, stops and so on that it was under; each may have cost one more execution of a body.
        """
        result = expected_result(self.order_id)
        assert self.handle.result(timeout=5) == result
        assert AsyncResult(self.task_id or self.handle.run_id, app=self.bench.app).get(timeout=5) == result
        recorded = list(self.handle.history())
        counts = Counter(type(event).__name__ for event in recorded)
        assert counts == {
            "Started": 1, "ScheduleActivity": 8, "ActivityCompleted": 8, "StartTimer": 2, "TimerFired": 2, "Signal": 1,
            "Complete": 1,
        }, counts  # fmt: skip
        scheduled = [event.seq for event in recorded if isinstance(event, events.ScheduleActivity)]
        answered = [event.seq for event in recorded if isinstance(event, events.ActivityCompleted)]
        assert sorted(answered) == sorted(scheduled)
        ledger = self.bench.ledger
        effects = ledger.effects(subject=self.order_id)
        assert sorted(effect.kind for effect in effects) == sorted(ACTIVITIES)
        asked = sum(effect.asked for effect in effects)
        assert asked <= len(ACTIVITIES) + faults, f"{asked} bodies, {faults} faults: {effects}"
        assert ledger.charged_twice() == []


class Bench:
    """A database with its workers, its ledger and a client; a context manager that kills the workers on exit.

    Args:
        redis_url: The store; also broker and result backend.
        folder: For logs, ledger and marker files.
        broker_url: Another broker.
        env: Environment of all workers.
        settings: Of the client's side.
    """

    def __init__(
        self, redis_url: str, folder: Path, *, broker_url: str = "", env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.redis_url, self.broker_url, self.folder = redis_url, broker_url or redis_url, folder
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.app: Celery = make_app(redis_url, broker_url=broker_url, **settings)
        self.client = Client(self.app)
        self.foreign: Celery = make_app(redis_url, broker_url=broker_url, orchestrated=False)
        self.workers: list[WorkerProcess] = []
        self._env = dict(env or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.kill()
        self.app.close()
        self.foreign.close()

    def worker(self, *, env: Mapping[str, str] | None = None, **options: Any) -> WorkerProcess:
        """Start a worker; ``wait=False`` returns at once."""
        worker = start_worker(
            redis_url=self.redis_url,
            log_dir=self.folder,
            app="tests.support.fault_app",
            env={
                LEDGER_VARIABLE: str(self.ledger.path), "CELERY_BROKER_URL": self.broker_url,
                **self._env, **(env or {}),
            },
            **{"concurrency": 2, **options},
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def start(self, order_id: str = "o-1", *, name: str = "", foreign: bool = False, nap: str = "300ms") -> Follower:
        """Start an order, by the client or by a plain Celery client that has never heard of workflows."""
        order = {"id": order_id, "nap": nap}
        if foreign:
            self.foreign.send_task(ORDER, args=[order], task_id=order_id, queue="faults")
            return Follower(name or order_id, self, order_id, task_id=order_id)
        self.client.start_workflow(ORDER, order, id=order_id)
        return Follower(name or order_id, self, order_id)

    def start_of(self, order_id: str) -> Follower:
        """An order that is started in another way, by a Celery task of the order's id."""
        return Follower(order_id, self, order_id, task_id=order_id)

    def logs(self) -> str:
        """What its workers have written."""
        return "\n".join(f"--- {worker!r}\n{worker.log()}" for worker in self.workers)


def follow(
    followers: Iterable[Follower], *, deadline_s: float = 60, meanwhile: Callable[[], object] | None = None
) -> None:
    """Watch orders until all are done.

    Raises:
        AssertionError: One is not; where each stands and what its workers wrote is in the message.
    """
    waiting = list(followers)

    def all_done() -> bool:
        if meanwhile is not None:
            meanwhile()
        waiting[:] = [follower for follower in waiting if not follower.look()]
        parked = [follower for follower in waiting if follower.parked]
        assert not parked, report()
        return not waiting

    def report() -> str:
        return "\n".join(f"{f.name}: {f.story()}\n{f.bench.logs()[-6000:]}" for f in waiting)

    wait_until(all_done, deadline_s=deadline_s, message=report, every_s=0.02)
