"""Cells that run Lua: those that the run queue steps, and functions that a thread of Celery drives."""

from __future__ import annotations

import os
import queue
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgpack

from orchestration.core import payload
from orchestration.core.bundle import Bundle
from orchestration.core.events import Code
from orchestration.core.failures import failure_of
from orchestration.core.machine import Machine, Mode
from orchestration.errors import MemoryLimitError, SandboxError, StepLimitError
from orchestration.host.cell import Cell, Ending
from orchestration.host.timers import Timer
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import started_fields
from orchestration.modules.verbs import perform
from orchestration.store.inputs import encode_input
from orchestration.tasks.workflow_host import write_line

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["CodeCell", "LuaCell", "PinnedCell"]

_MOST_INPUTS: Final = 64
_MOST_BYTES: Final = 1024 * 1024


class _Services:
    """What a machine needs from outside: the clock, chance, a log, verbs, and a short way to its neighbours."""

    __slots__ = ("_cell", "_node")

    def __init__(self, cell: CodeCell) -> None:
        self._cell = cell
        self._node = cell.node

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def random(self, n: int) -> bytes:
        return os.urandom(n)

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        cell = self._cell
        write_line(level, text, fields, {"function_id": cell.entry_id, "process_id": cell.pid, **cell.run_facts})

    def verb(self, name: str, packed: bytes) -> tuple[bool, bytes]:
        if name == "process.loaded":
            self._cell.loaded()
            return True, payload.NIL
        if name == "process.expose":
            self._node.expose(self._cell)
            return True, payload.NIL
        return perform(self._cell.caller, name, packed, now=True)

    def send(self, packed: bytes) -> bool:
        dest, _, message = packed.partition(b"\0")
        return self._node.hand_over(self._cell, dest, b"\x95\x05" + message)


class CodeCell(Cell):
    """What both kinds share: the machine, its start, its timers, and what becomes of its commands."""

    __slots__ = (
        "_is_upgrading", "_killed", "_machine", "_started", "left_limits", "on_loaded", "timers",
    )  # fmt: skip

    def __init__(self, node: Node, entry_id: str, place: str, caller: Caller) -> None:
        super().__init__(node, entry_id, place, caller)
        self._machine: Machine | None = None
        self._started = False
        self._is_upgrading = False
        self._killed: Ending | None = None
        self.left_limits: SandboxError | None = None
        """What it was ended with when it wanted more memory or time than it may have."""
        self.on_loaded: Callable[[], None] | None = None
        self.timers: dict[int, Timer] = {}

    def memory_bytes(self) -> int:
        """Memory of its Lua world; 0 before it has one."""
        return 0 if self._machine is None else self._machine.memory_bytes()

    def begin(self, args: bytes, numbers: int = 0) -> bytes:
        """The first input; ``numbers`` is that of the last command of other code that ran here before."""
        meta = {
            "workflow_id": "", "run_id": "", "type": self.entry_id, "pid": self.pid, "task_queue": "", "namespace": "",
            "bundle": "", "seed": os.urandom(16), "attempt": 1, "lua": "5.4", "format": 1, "flags": [],
            "ctx": dict(self.caller.context), "tz": "UTC", "public": self.is_public, "tell": "now",
            "numbers": numbers,
            **started_fields(self.node.runtime, self.caller.identity),
        }  # fmt: skip
        return encode_input(Code.STARTED, meta, args)

    @property
    def is_closing(self) -> bool:
        """It has been told to end, and will read nothing more."""
        return self._killed is not None

    def _bundle(self) -> Bundle:
        return self.node.runtime.registry.bundle(self.entry_id)

    def _apply(self, inputs: list[bytes]) -> list[bytes]:
        if self._machine is None:
            limits = self.node.runtime.settings.limits
            self._machine = Machine(self._bundle(), limits=limits, mode=Mode.FUNCTION, host=_Services(self))
        with self.node.runtime.in_lua():
            return self._machine.apply_live(time.time_ns() // 1_000_000, inputs)

    def _step(self, inputs: list[bytes]) -> Ending | None:
        """Take inputs, perform the commands; the ending, if this was the last step."""
        before = self.node.act_as(self.home)
        try:
            return self._take_step(inputs)
        finally:
            self.node.act_as(before)

    def _take_step(self, inputs: list[bytes]) -> Ending | None:
        try:
            commands = self._apply(inputs)
        except (MemoryLimitError, StepLimitError) as error:
            self.left_limits = error
            return _broken(error, "memory_limit" if isinstance(error, MemoryLimitError) else "step_limit")
        except Exception as error:  # noqa: BLE001 - whatever it is, this process ends of it and no other
            failure = payload.encode(failure_of(error))
            return Ending(False, _not_upgraded("create", failure) if self._is_upgrading else failure)
        if commands:
            self.node.wait_for_turn()  # this thread may have stood still in the middle of the step
            if self.home != self.node.id:
                return None  # what it asks for is not done any more; it has been killed
        for command in commands:
            code, *rest = msgpack.unpackb(command, raw=False, strict_map_key=False)
            if code == Code.COMPLETE:
                return Ending(True, rest[0])
            if code == Code.FAIL:
                return Ending(False, _not_upgraded("init", rest[0]) if self._is_upgrading else rest[0])
            if code == Code.CONTINUE_AS_NEW:
                return self._upgrade(*rest)
            self.node.performer.perform(self, code, rest)
        return None

    def loaded(self) -> None:
        """Its main function begins: who started it is told."""
        self._is_upgrading = False
        loaded, self.on_loaded = self.on_loaded, None
        if self.node.admit(self) and loaded is not None:
            loaded()

    def _upgrade(self, entry_id: str | None, args: bytes, options: Mapping[str, Any]) -> Ending | None:
        """Go on with other code under the same address; what has not been read is read by it."""
        self.stop_timers()
        if self._machine is not None:
            self._machine.close()
            self._machine = None
        wanted = entry_id or self.entry_id
        try:
            self.node.runtime.registry.bundle(wanted)
        except Exception as error:  # noqa: BLE001 - no such entry, or one without code
            text = f"upgrade: create failed: {error}"
            return Ending(False, payload.encode_failure(text, kind="NotFound", retryable=False))
        self.caller.close(is_over=False)
        self.entry_id = self.caller.entry_id = wanted
        self._is_upgrading = True
        unread = [encode_input(item[0], *item[1:]) for item in options.get("unread") or ()]
        self.restart(self.begin(args, int(options.get("numbers", 0))), unread)
        return None

    def restart(self, first: bytes, unread: list[bytes]) -> None:
        """Put the start of other code, and what the former has not read, before all that waits."""
        raise NotImplementedError

    def start_timer(self, seq: int, delay_ms: int) -> None:
        """Fire a timer of the code."""

        def fire() -> None:
            self.timers.pop(seq, None)
            self.push(encode_input(Code.TIMER_FIRED, seq))

        self.timers[seq] = self.node.timers.after(delay_ms / 1000, fire)

    def stop_timer(self, seq: int) -> None:
        """Forget a timer of the code."""
        timer = self.timers.pop(seq, None)
        if timer is not None:
            timer.cancel()

    def stop_timers(self) -> None:
        """Forget all timers."""
        timers, self.timers = self.timers, {}
        for timer in timers.values():
            timer.cancel()

    def close(self) -> None:
        """Let go of the machine."""
        self.stop_timers()
        if self._machine is not None:
            self._machine.close()
            self._machine = None


class LuaCell(CodeCell):
    """A process or function call that the node's run queue steps."""

    __slots__ = ("inbox", "is_scheduled", "queued_at")

    def __init__(self, node: Node, entry_id: str, place: str, caller: Caller) -> None:
        super().__init__(node, entry_id, place, caller)
        self.inbox: deque[bytes] = deque()
        self.is_scheduled = False
        self.queued_at = 0.0

    def push(self, item: bytes) -> None:
        """Read it soon."""
        self.inbox.append(item)
        if not self.is_scheduled and self._started:
            self.node.runqueue.schedule(self)

    def run(self, args: bytes, loaded: Callable[[], None] | None = None) -> None:
        """Begin: everything that must be in place before the code runs is; ``loaded`` is called when it does."""
        self.on_loaded = loaded
        self.inbox.appendleft(self.begin(args))
        self._started = True
        self.node.runqueue.schedule(self)

    def restart(self, first: bytes, unread: list[bytes]) -> None:
        """Put the start of other code before all that waits."""
        self.inbox.extendleft(reversed([first, *unread]))

    def kill(self, ending: Ending) -> None:
        """End it at its next step."""
        self._killed = self._killed or ending
        self._started = True
        self.node.runqueue.schedule(self)

    def has_work(self) -> bool:
        """Whether there is something to read, or it is to end."""
        return self.ended is None and (bool(self.inbox) or self._killed is not None)

    def run_step(self) -> None:
        """Read what is there, and do what the code asks for."""
        if self.ended is not None:
            return
        if self._killed is None:
            self.node.wait_for_turn()
        ending = self._killed
        if ending is None:
            inputs: list[bytes] = []
            size = 0
            while self.inbox and len(inputs) < _MOST_INPUTS and size < _MOST_BYTES:
                item = self.inbox.popleft()
                inputs.append(item)
                size += len(item)
            if not inputs:
                return
            ending = self._step(inputs)
        if ending is not None:
            self.node.end(self, ending)

    def close(self) -> None:
        """Let go of everything."""
        super().close()
        self.inbox.clear()


class PinnedCell(CodeCell):
    """A function that runs as a Celery task: its thread waits for it, and takes its steps."""

    __slots__ = ("_inputs", "_next")

    def __init__(self, node: Node, entry_id: str, place: str, caller: Caller) -> None:
        super().__init__(node, entry_id, place, caller)
        self._inputs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._next: list[bytes] = []

    def push(self, item: bytes) -> None:
        """Read it soon."""
        self._inputs.put(item)

    def restart(self, first: bytes, unread: list[bytes]) -> None:
        """Put the start of other code before all that waits."""
        self._next = [first, *unread]

    def kill(self, ending: Ending) -> None:
        """End it at its next step."""
        self._killed = self._killed or ending
        self._inputs.put(b"")

    def drive(self, args: bytes, *, look: Callable[[], bytes | None] | None = None, every_s: float = 1.0) -> Ending:
        """Run it to its end in this thread.

        Args:
            args: Encoded arguments.
            look: Asked now and then for an input that nothing announces; None is not asked again after it gave one.
            every_s: How often, in seconds.
        """
        self._next = [self.begin(args)]
        while True:
            if self._killed is not None:
                ending: Ending | None = self._killed
            else:
                inputs, self._next = self._next, []
                ending = self._step(inputs)
            if ending is not None:
                self.node.end(self, ending)
                return ending
            while not self._next and self._killed is None:
                try:
                    self._next = [self._inputs.get(timeout=every_s if look else None)]
                except queue.Empty:
                    found = look() if look else None
                    if found is not None:
                        look, self._next = None, [found]
            self._next = [item for item in self._next if item]
            while self._killed is None and len(self._next) < _MOST_INPUTS:
                try:
                    item = self._inputs.get_nowait()
                except queue.Empty:
                    break
                if item:
                    self._next.append(item)


def _broken(error: Exception, reason: str) -> Ending:
    failure = failure_of(error)
    return Ending(False, payload.encode({**failure, "details": {**failure.get("details", {}), "reason": reason}}))


def _not_upgraded(what: str, failure: bytes) -> bytes:
    found = payload.decode_failure(failure)
    return payload.encode({**found, "message": f"upgrade: {what} failed: {found['message']}"})
