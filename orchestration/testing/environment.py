"""An engine in memory: the code of production, driven in one thread, with a clock that skips."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from celery.app.trace import build_tracer

from orchestration.client import Client, WorkflowHandle
from orchestration.errors import ActivityNotReplacedError, ApplicationError, ConfigError, NothingDueError
from orchestration.registry import Registry
from orchestration.registry.kinds.functions import FunctionCelery, FunctionPython
from orchestration.registry.kinds.lua import FunctionLua, WorkflowLua
from orchestration.settings import Settings
from orchestration.store.keys import ShardKeys
from orchestration.tasks.messages import MARK, AttemptMark
from orchestration.tasks.sweep import Sweeper
from orchestration.tasks.unclaimed import Unclaimed
from orchestration.testing.application import InMemoryCelery, InMemoryConnection, InMemoryOrchestration, OnlyConsumer
from orchestration.testing.clock import SkippingClock, milliseconds
from orchestration.testing.deliveries import Deliveries, Delivery, Hang

__all__ = ["WorkflowEnvironment"]

_CENTURY_MS = 36_525 * 24 * 60 * 60 * 1000
_MOST_SKIPS = 10_000

_SETTINGS = {
    "shards": 1,
    "retention_ms": _CENTURY_MS,  # what a test looks at must not go because time was skipped
    "timer_horizon_ms": 0,  # every timer waits in the store, where the clock finds it
    "eta_tasks_max": 0,
}


class WorkflowEnvironment:
    """Workflows without a server: no Redis, no broker, no worker. A context manager, and the fixture ``workflow_env``.

    The store runs the scripts of production over memory; engine, attempts and timers are those of a worker. Nothing
    moves until the test says so: with :meth:`run`, :meth:`skip`, :meth:`run_until_idle`, or by waiting for a result.
    The clock stands still while code runs, and skips to what is due next when nothing is left to run.

    Activities that are Celery tasks or Python functions have to be replaced with :meth:`activity`; functions written
    in Lua run as they are unless they are replaced.

    Args:
        config: Path or paths of the definitions.
        start: Where the clock begins; None: now.
        registry: Definitions that are loaded already; ``config`` is not read then.
        replay_everything: Keep no Lua machine from one step to the next: each step replays the whole history, as a
            worker does that has never seen the run. Finds code that keeps state where a replay does not find it.
        settings: Settings by name without prefix, such as ``payload_bytes``; no environment variable counts.

    Raises:
        RegistryError: The definitions have mistakes; all of them are in the message.
        ConfigError: A setting is unknown or out of range.

    Example:
        ::

            with WorkflowEnvironment("config") as env:
                env.activity("app.api:charge_card", lambda order: {"id": "p-1"})
                assert env.start("app.workflows:order_processor", {"id": "A-1"}).result()
    """

    def __init__(
        self, config: str | Path | Iterable[str | Path] = "config", *, start: datetime | None = None,
        registry: Registry | None = None, replay_everything: bool = False, **settings: Any,
    ) -> None:  # fmt: skip
        paths = [config] if isinstance(config, (str, Path)) else list(config)
        chosen = {**_SETTINGS, **settings, **({"cache_runs": 0} if replay_everything else {})}
        checked = Settings.from_celery({}, env={}, config=[str(path) for path in paths], **chosen)
        self.clock = SkippingClock(start)
        self.deliveries = Deliveries(self.clock)
        self.app = InMemoryCelery(self.clock, self._drive)
        self.app.amqp.__dict__["send_task_message"] = self.deliveries.put
        self._connection = InMemoryConnection(self.clock, self._drive, self._waiting)
        self._orchestration = InMemoryOrchestration(
            self.app, checked, self._connection, registry=registry, stand_ins=self._stand_in
        )
        self.registry = self._orchestration.registry  # read now: Celery only logs what goes wrong when it finalizes
        self.app.finalize()
        self.client = Client(self.app)
        parts = self._orchestration.parts
        self._parts = parts
        self._sweeper = Sweeper(
            parts.runtime, parts.engine, parts.attempts,
            Unclaimed(parts.runtime, parts.reports, OnlyConsumer(parts.runtime, "")),
        )  # fmt: skip
        self._replaced: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}
        self._missing: ActivityNotReplacedError | None = None
        for entry in self.registry.entries:
            if isinstance(entry, (FunctionCelery, FunctionPython)):
                task_name = entry.task_name if isinstance(entry, FunctionCelery) else entry.id
                self._register(task_name, self._missing_body(entry.id, task_name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything; safe to repeat."""
        self._orchestration.close()

    # What a test prepares

    def activity(self, target: str, function: Callable[..., Any] | None = None) -> Any:
        """Put a Python function in the place of an activity; a later one takes the place of an earlier one.

        It is called as the task would be. It may raise (the attempt fails, the retry policy decides), use
        ``orchestration.activity`` (``info()``, ``heartbeat()``), let time pass with :meth:`skip`, or raise
        :class:`Hang`. A ``unittest.mock.Mock`` serves too.

        Args:
            target: Entry id that the workflow calls, or the name of a Celery task.
            function: What runs instead; None: this is used as a decorator.

        Returns:
            The function.

        Raises:
            ConfigError: The target is a workflow, or no entry although it looks like one.
        """
        if function is None:
            return lambda decorated: self.activity(target, decorated)
        entry = self.registry.find(target)
        if isinstance(entry, WorkflowLua):
            raise ConfigError(f"{target!r} is a workflow: it runs as it is; only what it calls is replaced")
        task_name = entry.task_name if isinstance(entry, FunctionCelery) else target

        task = self._register(task_name, function)
        tracer = build_tracer(task_name, task, self.app.loader, "workflow-test", app=self.app)
        self._replaced[target] = (function, tracer)
        return function

    def _register(self, task_name: str, function: Callable[..., Any]) -> Any:
        """Make a function a Celery task, instead of the one that has the name."""

        def body(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        self.app.tasks.pop(task_name, None)
        return self.app.task(body, name=task_name, shared=False, lazy=False)

    def start(self, workflow_type: str, *args: Any, **options: Any) -> WorkflowHandle:
        """Start a workflow; its first step runs with the next :meth:`run`, :meth:`skip` or wait.

        Args:
            workflow_type: Entry id, or the type name that the entry declares.
            args: Arguments of its main function.
            options: As :meth:`orchestration.Client.start_workflow` takes them: ``id``, ``signals`` ...
        """
        return self.client.start_workflow(workflow_type, *args, **options)

    # How time goes on

    @property
    def now(self) -> datetime:
        """The environment's time, in UTC."""
        return self.clock.now

    def run(self) -> None:
        """Run everything that can run now; time stands still.

        Raises:
            ActivityNotReplacedError: An activity was called that has no stand-in.
        """
        while self._step():
            pass

    def skip(self, duration: timedelta | str) -> None:
        """Let time pass: what becomes due on the way runs at its time, in order.

        Args:
            duration: A timedelta, or text as Lua code writes it, such as ``"23h"``.

        Raises:
            ActivityNotReplacedError: An activity was called that has no stand-in.
        """
        end_ms = self.clock.now_ms + milliseconds(duration)
        while True:
            self.run()
            due_ms = self._next_due_ms()
            if due_ms is None or due_ms > end_ms:
                break
            self.clock.skip_to(due_ms)
        self.clock.skip_to(end_ms)
        self.run()

    def run_until_idle(self) -> None:
        """Run until nothing is left to run and no timer, deadline or retry is to come. Days take milliseconds.

        Raises:
            ActivityNotReplacedError: An activity was called that has no stand-in.
            NothingDueError: It does not end: after 10,000 skips there is still something to come.
        """
        self._drive(lambda: False)

    def _drive(self, done: Callable[[], bool]) -> bool:
        """Go on until something holds; False when it cannot come about."""
        for _ in range(_MOST_SKIPS):
            while not done() and self._step():
                pass
            if done():  # a sweep may bring it about without a message
                return True
            due_ms = self._next_due_ms()
            if due_ms is None:
                return False
            self.clock.skip_to(due_ms)
        raise NothingDueError(
            f"after {_MOST_SKIPS} skips of the clock, to {self.now:%Y-%m-%d %H:%M}, there is still something to come: "
            f"let a part of the time pass with skip()\n{self._waiting()}"
        )

    def _step(self) -> bool:
        """Deliver a message; without one, do what a worker's sweep does. False when nothing came of either."""
        delivery = self.deliveries.take()
        if delivery is None:
            self._sweeper.turn()
            delivery = self.deliveries.take()
        if delivery is None:
            return False
        self._deliver(delivery)
        return True

    def _deliver(self, delivery: Delivery) -> None:
        is_attempt = MARK in delivery.request
        try:
            trace = self._tracer_of_attempt(delivery) if is_attempt else self._tracer_of_task(delivery.task)
        except ActivityNotReplacedError:
            self.deliveries.put_back(delivery)  # a test may find this in order, and put something in its place now
            raise
        message = (delivery.id, delivery.args, delivery.kwargs, delivery.request)
        with contextlib.suppress(Hang):
            if is_attempt:
                self._parts.attempts.run(trace, *message)
            else:
                trace(*message)
        if self._missing is not None:  # met where it could not be raised
            missing, self._missing = self._missing, None
            raise missing

    def _tracer_of_attempt(self, delivery: Delivery) -> Callable[..., Any]:
        target = AttemptMark.from_header(delivery.request[MARK]).target
        for name in (target, delivery.task):
            if name in self._replaced:
                return self._replaced[name][1]
        if isinstance(self.registry.find(target), FunctionLua):
            return self._tracer_of_task(delivery.task)
        raise ActivityNotReplacedError(target, delivery.task)

    def _tracer_of_task(self, name: str) -> Callable[..., Any]:
        entry = self.registry.find(name)
        real = name.startswith(("celery.", "orchestration.")) or isinstance(entry, (WorkflowLua, FunctionLua))
        if name in self._replaced:
            return self._replaced[name][1]
        if not real or name not in self.app.tasks:
            raise ActivityNotReplacedError(name)
        task = self.app.tasks[name]
        tracer: Callable[..., Any] = build_tracer(name, task, self.app.loader, "workflow-test", app=self.app)
        return tracer

    def _stand_in(self, target: str) -> Callable[..., Any] | None:
        """What a function in Lua gets when it calls another function."""
        entry = self.registry.find(target)
        task = entry.task_name if isinstance(entry, FunctionCelery) else target
        for name in (target, task):
            if name in self._replaced:
                return self._replaced[name][0]
        return self._missing_body(target, task) if isinstance(entry, (FunctionCelery, FunctionPython)) else None

    def _missing_body(self, target: str, task: str) -> Callable[..., Any]:
        """What runs instead of a real task where the error cannot reach the test: in a function, in a step."""

        def missing(*_: Any, **__: Any) -> Any:
            self._missing = ActivityNotReplacedError(target, task)
            raise ApplicationError(str(self._missing), kind="NotFound", retryable=False)

        return missing

    # What is to come

    def _next_due_ms(self) -> int | None:
        """When something becomes due: a timer or deadline in the store, a message with an ETA."""
        runtime = self._parts.runtime
        shards = [shard for name in runtime.namespaces for shard in runtime.store(name).timers.shards]
        sets = [key for shard in shards for key in _due_keys(shard)]
        heads = self._connection.pipeline([("ZRANGE", key, 0, 0, "WITHSCORES") for key in sets])
        found = [int(head[0][1]) for head in heads if head]
        later = self.deliveries.next_due_ms()
        return min([*found, *([] if later is None else [later])], default=None)

    def _waiting(self) -> str:
        """What each open run waits for."""
        lines = ["nothing is left to run, and no timer to fire:"]
        runtime = self._parts.runtime
        for namespace in runtime.namespaces:
            for seen in Client(self.app, namespace=namespace).list_workflows(status="open"):
                lines.append(f"  {seen.type} {seen.workflow_id!r} is {seen.status} {seen.parked}".rstrip())
                lines += [f"    {place.file}:{place.line} waits for {place.waits_for}" for place in seen.places]
        return os.linesep.join(lines if len(lines) > 1 else [*lines, "  no run is open"])


def _due_keys(shard: ShardKeys) -> tuple[str, ...]:
    """Sorted sets of a shard that hold something by the time when it is due."""
    return shard.timers, shard.schedules_due, shard.ready, shard.outbox_due
