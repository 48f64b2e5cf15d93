"""Run a piece of Lua as a whole run, its timers fired at once, to see what library functions do."""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.core import events, payload
from orchestration.core.bundle import Bundle, BundleMode
from orchestration.core.machine import Machine, Mode
from orchestration.types import EntryId, Limits

__all__ = ["START_MS", "LuaFailure", "OpenedMachine", "RecordingHost", "open_machine", "run_in_both_modes", "run_lua"]

START_MS = 1_700_000_000_123
"""When the runs begin: 2023-11-14T22:13:20.123Z."""


class LuaFailure(Exception):
    """The run ended with an error."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message, kind)
        self.message = message
        self.kind = kind

    def __str__(self) -> str:
        return self.message


class RecordingHost:
    """Services for a function: a clock that stands still, real chance, and every line logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.now = START_MS

    def now_ms(self) -> int:
        return self.now

    def random(self, n: int) -> bytes:
        return os.urandom(n)

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        self.lines.append((level, text, dict(fields)))


@dataclass(frozen=True)
class OpenedMachine:
    """A machine and the input that begins its run."""

    machine: Machine
    started: bytes

    def start(self) -> list[bytes]:
        """Begin the run."""
        return self.machine.apply(self.started)


def open_machine(
    source: str,
    *args: Any,
    modules: tuple[str, ...] = (),
    mode: Mode = Mode.WORKFLOW,
    host: RecordingHost | None = None,
    tz: str = "UTC",
    seed: bytes = b"0123456789abcdef",
    limits: Limits | None = None,
) -> OpenedMachine:
    """Make a machine for the body of a main function; the arguments are those of `run_lua`."""
    bundle = Bundle(
        entry_id=EntryId("test:main"),
        source_name="main.lua",
        source=f"return {{ main = function(...) {source}\nend }}",
        modules=tuple(sorted(modules)),
        method="main",
        mode=BundleMode.FUNCTION if mode is Mode.FUNCTION else BundleMode.WORKFLOW,
    )
    meta = {
        "workflow_id": "w",
        "run_id": "r",
        "type": "test:main",
        "pid": "{n@h|1}",
        "seed": seed,
        "tz": tz,
        "lua": "5.4",
        "format": 1,
        "flags": [],
        "ctx": {},
        "attempt": 1,
        "bundle": bundle.digest,
        "task_queue": "q",
        "namespace": "default",
    }
    started = events.Started(time_ms=START_MS, meta=meta, args=payload.encode(list(args)))
    return OpenedMachine(Machine(bundle, mode=mode, host=host, limits=limits), events.encode(started))


def run_lua(
    source: str,
    *args: Any,
    modules: tuple[str, ...] = (),
    mode: Mode = Mode.WORKFLOW,
    host: RecordingHost | None = None,
    tz: str = "UTC",
    seed: bytes = b"0123456789abcdef",
    limits: Limits | None = None,
    most_timers: int = 100,
) -> Any:
    """Run the body of a main function and give what it returns first.

    Args:
        source: Body of ``main(...)``.
        args: Its arguments.
        modules: Modules it may use.
        mode: What it runs as.
        host: Services, for a function.
        tz: Time zone of the run.
        seed: Where its chance comes from.
        limits: What it may use.
        most_timers: Timers that are fired before the run counts as endless.

    Raises:
        LuaFailure: The run ended with an error.
    """
    opened = open_machine(source, *args, modules=modules, mode=mode, host=host, tz=tz, seed=seed, limits=limits)
    machine, now = opened.machine, START_MS
    commands = opened.start()
    timers: list[tuple[int, int]] = []
    cancelled: set[int] = set()
    for _ in range(most_timers):
        for data in commands:
            command = events.decode(data)
            match command:
                case events.StartTimer():
                    heapq.heappush(timers, (now + command.delay_ms, command.seq))
                case events.CancelTimer():
                    cancelled.add(command.timer_seq)
                case events.Complete():
                    return payload.decode(command.result)
                case events.Fail():
                    failure = payload.decode_failure(command.failure)
                    raise LuaFailure(str(failure["message"]), str(failure["kind"]))
                case _:
                    raise AssertionError(f"unexpected command {command}")
        while timers and timers[0][1] in cancelled:
            heapq.heappop(timers)
        due, seq = heapq.heappop(timers)
        now = max(now, due)
        if host is not None:
            host.now = now
        commands = machine.apply(events.encode(events.TimerFired(time_ms=now, seq=seq)))
    raise AssertionError("the run does not end")


def run_in_both_modes(source: str, *args: Any, **options: Any) -> Any:
    """`run_lua` as a workflow and as a function, for what must be the same in both.

    Raises:
        LuaFailure: Both runs ended with this error.
    """
    results: list[Any] = []
    failures: list[LuaFailure] = []
    for mode in Mode:
        try:
            results.append(run_lua(source, *args, mode=mode, host=RecordingHost(), **options))
        except LuaFailure as error:
            failures.append(error)
            results.append(error.args)
    first, second = results
    assert repr(first) == repr(second), "a workflow and a function differ"
    if failures:
        raise failures[0]
    return first
