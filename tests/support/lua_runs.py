# ruff: noqa: E501 - Lua sources and tables of cases read better on one line
"""Drives a machine by hand: inputs one by one, commands decoded, the history kept as a store would keep it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestration.core import events, payload
from orchestration.core.bundle import Bundle
from orchestration.core.events import Event
from orchestration.core.machine import HostServices, Machine, Mode
from orchestration.core.replay import replay
from orchestration.types import EntryId, Limits
from tests.support.replaying import is_replaying_everything, replayed_machine

MODULES = ("funcs", "time", "workflow", "ctx", "uuid", "json", "process")
PID = "{app:client@app:worker|w-1}"


def bundle(source: str, modules: tuple[str, ...] = MODULES, name: str = "flow.lua") -> Bundle:
    """A bundle of one source; ``method`` is main."""
    return Bundle(entry_id=EntryId("app:flow"), source_name=name, source=source, modules=modules, method="main")


def meta(**changes: Any) -> dict[str, Any]:
    """The map of a STARTED event."""
    return {
        "workflow_id": "w-1", "run_id": "r-1", "type": "app:flow", "pid": PID, "task_queue": "orders",
        "namespace": "default", "bundle": "", "seed": bytes(range(16)), "attempt": 1, "lua": "5.4", "format": 1,
        "flags": [], "ctx": {}, "tz": "UTC",
    } | changes  # fmt: skip


class Run:
    """One run; each verb applies one input and returns the commands it caused, decoded."""

    def __init__(
        self,
        source: str | Bundle,
        *,
        modules: tuple[str, ...] = MODULES,
        mode: Mode = Mode.WORKFLOW,
        host: HostServices | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.bundle = source if isinstance(source, Bundle) else bundle(source, modules)
        self.machine = Machine(self.bundle, mode=mode, host=host, limits=limits)
        self.history: list[bytes] = []
        self.now_ms = 1_700_000_000_000
        self.last: list[Event] = []
        self._replayed = 0

    def apply(self, event: Event) -> list[Event]:
        """Apply an input."""
        encoded = events.encode(event)
        commands = self.machine.apply(encoded)
        self.history += [encoded, *commands]
        if is_replaying_everything() and self.machine.mode is Mode.WORKFLOW:
            fresh = replayed_machine(self.machine, self.history, replayed=self._replayed)
            if fresh is not None:
                self.machine.close()
                self.machine, self._replayed = fresh, len(self.history)
        self.last = [events.decode(command) for command in commands]
        return self.last

    def tick(self, ms: int = 10) -> int:
        """Let time pass; returns it."""
        self.now_ms += ms
        return self.now_ms

    def start(self, *args: Any, **changes: Any) -> list[Event]:
        return self.apply(events.Started(self.now_ms, meta(**changes), payload.encode(list(args))))

    def complete(self, seq: int, value: Any = None) -> list[Event]:
        return self.apply(events.ActivityCompleted(self.tick(), seq, payload.encode(value)))

    def fail(
        self, seq: int, message: str = "no", kind: str = "", retryable: bool | None = None, **more: Any
    ) -> list[Event]:
        failure = payload.encode_failure(message, kind=kind, retryable=retryable, **more)
        return self.apply(events.ActivityFailed(self.tick(), seq, failure))

    def fire(self, seq: int, after_ms: int = 10) -> list[Event]:
        return self.apply(events.TimerFired(self.tick(after_ms), seq))

    def signal(self, topic: str, *args: Any, sender: str = "") -> list[Event]:
        return self.apply(events.Signal(self.tick(), topic, payload.encode(list(args)), sender))

    def cancel(self, reason: str = "", sender: str = "") -> list[Event]:
        return self.apply(events.CancelRequested(self.tick(), reason, sender))

    def done(self, seq: int, *, ok: bool = True, value: bytes = payload.NIL) -> list[Event]:
        return self.apply(events.OperationDone(self.tick(), seq, ok, value))

    @property
    def outcome(self) -> Event:
        """The closing command."""
        assert self.machine.closed, f"still open: {self.machine.places()}"
        return events.decode(self.history[-1])

    @property
    def result(self) -> Any:
        """The value the run ended with."""
        outcome = self.outcome
        assert isinstance(outcome, events.Complete), failure_of(outcome)
        return payload.decode(outcome.result)

    @property
    def failure(self) -> dict[str, Any]:
        """The failure the run ended with."""
        return failure_of(self.outcome)

    def replayed(self) -> Machine:
        """Another machine, brought to the same place by replay."""
        machine = Machine(self.bundle, mode=self.machine.mode)
        replay(machine, self.history)
        return machine

    def auto(self, answers: Mapping[str, Callable[..., Any]] | None = None, *, most: int = 100_000) -> Any:
        """Answer activities by functions of their arguments (echo of the first if there is none), fire timers in order."""
        waiting: list[tuple[int, int, Event]] = []
        pending: list[Event] = list(self.last)
        for _ in range(most):
            if self.machine.closed:
                return None
            if pending:
                command = pending.pop(0)
                if isinstance(command, events.ScheduleActivity):
                    args = payload.decode(command.args)
                    perform: Callable[..., Any] = dict(answers or {}).get(command.target, _echo)
                    answer = perform(*args)
                    if isinstance(answer, Exception):
                        pending += self.fail(command.seq, str(answer), "Broken", retryable=False)
                    else:
                        pending += self.complete(command.seq, answer)
                elif isinstance(command, events.StartTimer):
                    waiting.append((self.now_ms + command.delay_ms, command.seq, command))
                elif isinstance(command, events.CancelTimer):
                    waiting = [item for item in waiting if item[1] != command.timer_seq]
                elif isinstance(command, events.SendSignal | events.CancelExternal):
                    pending += self.done(command.seq)
            elif waiting:
                waiting.sort(key=lambda item: item[:2])
                due, seq, _command = waiting.pop(0)
                self.now_ms = max(self.now_ms, due)
                pending += self.apply(events.TimerFired(self.now_ms, seq))
            else:
                return None
        raise AssertionError("the run does not end")


def _echo(*args: Any) -> Any:
    return args[0] if args else None


def failure_of(outcome: Event) -> dict[str, Any]:
    """The failure in a FAIL command."""
    assert isinstance(outcome, events.Fail), outcome
    return payload.decode_failure(outcome.failure)


def returned(body: str, *args: Any, answers: Mapping[str, Callable[..., Any]] | None = None, prelude: str = "") -> Any:
    """What ``return function(...) <body> end`` returns."""
    run = Run(f"{prelude}\nreturn function(...) {body}\nend")
    run.start(*args)
    run.auto(answers)
    return run.result
