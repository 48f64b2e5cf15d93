"""The Celery application of an environment: Celery's own code, with broker, results and clock in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from celery import Celery, signals, states
from celery.backends.base import KeyValueStoreBackend
from kombu import Connection as BrokerConnection

from orchestration.errors import NothingDueError
from orchestration.registry import Registry
from orchestration.settings import Settings
from orchestration.store.connection import Connection, Subscription
from orchestration.store.memory import MemoryConnection
from orchestration.tasks.app import Orchestration, Parts
from orchestration.tasks.foreign.consumers import Consumers
from orchestration.tasks.presence import Presence
from orchestration.tasks.runtime import Runtime
from orchestration.testing.clock import SkippingClock

__all__ = ["InMemoryCelery", "InMemoryConnection", "InMemoryOrchestration", "OnlyConsumer"]

Drive = Callable[[Callable[[], bool]], bool]
"""Runs what there is to run, and lets time pass, until a condition holds; False when it cannot come about."""


class InMemoryCelery(Celery):  # type: ignore[misc]
    """A Celery application that reaches nothing outside this process, whatever its environment variables say.

    Args:
        clock: Its time.
        drive: Has the environment go on while a result is waited for.
    """

    def __init__(self, clock: SkippingClock, drive: Drive) -> None:
        super().__init__("workflow-test", broker="memory://", set_as_current=False)
        self.clock = clock
        self.drive = drive
        self.results: dict[str, Any] = {}

    def now(self) -> datetime:
        """The environment's time."""
        return self.clock.now.astimezone(self.timezone)

    def connection_for_write(self, url: str | None = None, **_: Any) -> Any:
        """Nothing connects to a broker that an environment variable names."""
        del url
        return BrokerConnection("memory://")  # type: ignore[no-untyped-call]

    connection_for_read = connection_for_write

    def _get_backend(self) -> Any:
        return _Results(app=self)


class _Results(KeyValueStoreBackend):  # type: ignore[misc]
    """Results of Celery tasks in memory; waiting for one has the environment go on."""

    implements_incr = True

    def get(self, key: Any) -> Any:
        return self.app.results.get(_text(key))

    def mget(self, keys: Any) -> list[Any]:
        return [self.get(key) for key in keys]

    def set(self, key: Any, value: Any) -> None:
        self.app.results[_text(key)] = value

    def delete(self, key: Any) -> None:
        self.app.results.pop(_text(key), None)

    def incr(self, key: Any) -> int:
        count = int(self.app.results.get(_text(key)) or 0) + 1
        self.app.results[_text(key)] = count
        return count

    def expire(self, key: Any, value: Any) -> None:
        """Results live as long as the environment."""

    def wait_for(self, task_id: str, **_: Any) -> Any:
        """Go on until a task has a result.

        Raises:
            NothingDueError: It will never have one.
        """
        if not self.app.drive(lambda: self.get_task_meta(task_id)["status"] in states.READY_STATES):
            raise NothingDueError(f"task {task_id} has no result, and nothing is left to run")
        return self.get_task_meta(task_id)


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


class InMemoryConnection(MemoryConnection):
    """The store in memory; whoever waits for a message from it has the environment go on.

    Args:
        clock: Time of the store.
        drive: Has the environment go on.
        waiting: Says what everything waits for, for the error when nothing is left to run.
    """

    def __init__(self, clock: SkippingClock, drive: Drive, waiting: Callable[[], str]) -> None:
        super().__init__(clock)
        self._drive = drive
        self._waiting = waiting

    def subscribe(self, *channels: str) -> Subscription:
        """Listen to channels; established when this returns."""
        return _DrivingSubscription(super().subscribe(*channels), self._drive, self._waiting)


class _DrivingSubscription:
    def __init__(self, inner: Subscription, drive: Drive, waiting: Callable[[], str]) -> None:
        self._inner = inner
        self._drive = drive
        self._waiting = waiting

    def wait(self, timeout_s: float) -> bool:
        del timeout_s  # of the real clock, which does not count here
        told: list[bool] = []

        def is_told() -> bool:
            if not told and self._inner.wait(0):
                told.append(True)
            return bool(told)

        if not self._drive(is_told):
            raise NothingDueError(self._waiting())
        return True

    def receive(self, timeout_s: float) -> bytes | None:
        return self._inner.receive(timeout_s)

    def close(self) -> None:
        self._inner.close()


class _QuietPresence(Presence):
    """One thread in one process: nobody has to be told that it lives."""

    def hold(self, namespace: str) -> None:
        del namespace

    def release(self, namespace: str) -> None:
        del namespace

    @contextmanager
    def in_lua(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        pass


class OnlyConsumer(Consumers):
    """There is one worker, and it has the extension."""

    def say(self) -> None:
        """Nobody else wants to know."""

    def whose(self, queue: str) -> str:
        """``ours``, without asking."""
        del queue
        return "ours"


class _InMemoryRuntime(Runtime):
    """A process that serves every queue and whose functions may be replaced."""

    stand_ins: Callable[[str], Callable[..., Any] | None]

    def serves(self, queue: str) -> bool:
        del queue
        return True

    def stand_in(self, target: str) -> Callable[..., Any] | None:
        return self.stand_ins(target)


class InMemoryOrchestration(Orchestration):
    """The extension with everything given: settings, definitions, store.

    Args:
        app: The application.
        settings: Checked settings; no environment variable counts.
        connection: The store.
        registry: The definitions, if they are loaded already.
        stand_ins: Finds what runs in the place of a function.
    """

    def __init__(
        self, app: InMemoryCelery, settings: Settings, connection: Connection, *, registry: Registry | None,
        stand_ins: Callable[[str], Callable[..., Any] | None],
    ) -> None:  # fmt: skip
        super().__init__(app)
        self._settings = settings
        self._registry = registry
        self.connection = connection
        self._stand_ins = stand_ins

    @property
    def parts(self) -> Parts:
        """The working parts, made at first use."""
        with self._lock:
            if self._parts is None:
                runtime = _InMemoryRuntime(self.app, self.settings, self.registry, self.connection)
                runtime.stand_ins = self._stand_ins
                runtime.monotonic = lambda: self.app.clock.now_ms / 1000
                self._parts = Parts(runtime, presence=_QuietPresence(runtime, expendable=False))
            return self._parts

    def close(self) -> None:
        """Let go of machines, and of Celery's signals."""
        signals.worker_process_init.disconnect(self._on_child)
        signals.celeryd_after_setup.disconnect(self._on_worker)
        if self._parts is not None:
            self._parts.runtime.close()
        self.app.close()
