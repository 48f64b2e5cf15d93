"""Calls of functions: Lua in a cell of its own, Python in a thread, anything else as a Celery task."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from orchestration.core import payload
from orchestration.core.call_options import call_retry, call_timeout_ms
from orchestration.core.events import Code
from orchestration.core.failures import failure_of
from orchestration.core.identity import Identity
from orchestration.host.cell import Cell, Ending
from orchestration.host.lua_cell import LuaCell
from orchestration.host.spawning import SpawnRequest
from orchestration.host.timers import Timer
from orchestration.registry.kinds.functions import FunctionCelery, FunctionPython
from orchestration.registry.kinds.lua import FunctionLua, ProcessLua
from orchestration.registry.kinds.processes import ProcessPython
from orchestration.store.inputs import encode_input
from orchestration.tasks.messages import IDENTITY

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["Calls"]

_DEPTH_LIMIT: Final = 64


class _Call:
    """One call, with its retries and its timeout.

    Args:
        node: Where.
        cell: Who calls.
        seq: Number of the command.
        target: Function id.
        args: Encoded array.
        options: Of the call, those of the entry under them.
        context: Context values.
        identity: Actor and scope.
    """

    def __init__(
        self, node: Node, cell: Cell, seq: int, target: str, args: bytes, *, options: Mapping[str, Any],
        context: Mapping[str, Any], identity: Identity,
    ) -> None:  # fmt: skip
        self._node, self._cell, self._seq, self._target, self._args = node, cell, seq, target, args
        self._context, self._identity = context, identity
        self._policy = call_retry(options)
        timeout_ms = call_timeout_ms(options)
        self._deadline = time.monotonic() + timeout_ms / 1000 if timeout_ms else None
        self._attempt = 0
        self.is_over = False
        """Nobody waits for it any more."""
        self._lock = threading.Lock()
        self._callee: Any = None
        self._timer: Timer | None = None
        self.abandoned: Callable[[], None] | None = None
        """Called when the caller ends before the callee."""
        self._told = cell.when_ended(self._abandon)
        if timeout_ms:  # last: it may fire at once
            self._timer = node.timers.after(timeout_ms / 1000, self._time_out)

    def start(self) -> None:
        """Make the next try."""
        if self.is_over:
            return
        self._attempt += 1
        try:
            self._node.calls.perform(self, self._target, self._args, self._context, self._identity, self._cell)
        except Exception as error:  # noqa: BLE001 - whoever called is told
            self.settle(Ending(False, payload.encode(failure_of(error))))

    def callee(self, cell: LuaCell) -> None:
        """The cell that performs it: it belongs to the caller."""
        self._callee = cell

    def settle(self, ending: Ending) -> None:
        """A try has ended."""
        self._callee = None
        self.abandoned = None
        if self.is_over:
            return
        if not ending.ok and self._policy is not None:
            failure = payload.decode_failure(ending.value)
            delay_ms = self._policy.delay_ms(failure, attempt=self._attempt, chance=random.random())
            if delay_ms is not None and not (
                self._deadline is not None and time.monotonic() + delay_ms / 1000 >= self._deadline
            ):
                self._node.timers.after(delay_ms / 1000, self.start)
                return
        if self._close():
            self._answer(ending)

    def _close(self) -> bool:
        """It is over; False: it was already, by its end or its timeout, whichever came first."""
        with self._lock:
            was_over, self.is_over = self.is_over, True
        return not was_over

    def _answer(self, ending: Ending) -> None:
        self._cell.forget_told(self._told)
        if self._timer is not None:
            self._timer.cancel()
        code = Code.ACTIVITY_COMPLETED if ending.ok else Code.ACTIVITY_FAILED
        self._cell.push(encode_input(code, self._seq, ending.value))

    def _time_out(self) -> None:
        if self._close():
            text = f"{self._target} took too long"
            self._answer(Ending(False, payload.encode_failure(text, kind="Timeout", retryable=False)))
            self._abandon(Ending(False))

    def _abandon(self, ending: Ending) -> None:
        """The caller has ended: an abnormal end takes the function with it."""
        self._close()
        abandoned, self.abandoned = self.abandoned, None
        if abandoned is not None:
            abandoned()
        callee, self._callee = self._callee, None
        if callee is not None and not ending.ok:
            callee.kill(Ending(False, payload.encode_failure("canceled", kind="Canceled", retryable=False)))


class Calls:
    """Calls of the cells of one node.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def call(self, cell: Cell, seq: int, target: str, args: bytes, options: dict[str, Any]) -> None:
        """Call a function for a command; the answer comes as an input."""
        node = self._node
        wanted = {**getattr(node.runtime.registry.find(target), "options", {}), **options.get("options", {})}
        try:
            call = _Call(
                node, cell, seq, target, args, options=wanted,
                context={**cell.caller.context, **options.get("ctx", {})},
                identity=Identity.of(options, cell.caller.identity),
            )  # fmt: skip
        except ValueError as error:
            failure = payload.encode_failure(f"invalid options: {error}", kind="Invalid", retryable=False)
            cell.push(encode_input(Code.ACTIVITY_FAILED, seq, failure))
            return
        call.start()

    def cancel(self, cell: Cell, seq: int, *rest: Any) -> None:
        """Outside of workflows a call that nobody waits for any more runs on."""

    def perform(
        self, call: _Call, target: str, args: bytes, context: Mapping[str, Any], identity: Identity, caller: Cell
    ) -> None:  # fmt: skip
        """Make one try of a call, wherever the function's code is."""
        node = self._node
        registry = node.runtime.registry
        entry = registry.find(target)
        if isinstance(entry, FunctionCelery) and isinstance(registry.find(entry.task_name), FunctionLua):
            target, entry = entry.task_name, registry.get(entry.task_name)  # run as a task here, it would be nobody's
        stand_in = node.runtime.stand_in(target)
        if stand_in is not None:
            self._in_thread(call, lambda: stand_in(*payload.decode(args)))
        elif isinstance(entry, FunctionLua):
            if caller.depth >= _DEPTH_LIMIT:
                text = f"functions call each other more than {_DEPTH_LIMIT} deep"
                call.settle(Ending(False, payload.encode_failure(text, kind="Internal", retryable=False)))
                return
            self._lua(call, entry, args, context, identity, caller)
        elif isinstance(entry, FunctionPython):
            from orchestration.tasks.entries import resolve_callable

            self._in_thread(call, lambda: resolve_callable(entry)(*payload.decode(args)))
        elif isinstance(entry, FunctionCelery):
            self._celery(call, entry, payload.decode(args), identity, caller)
        elif isinstance(entry, ProcessLua | ProcessPython) and entry.default_host:
            self._process(call, entry, args, context, identity, caller)
        else:
            failure = payload.encode_failure(
                f"no handler registered for target: {target}", kind="NotFound", retryable=False,
                details={"target": target},
            )  # fmt: skip
            call.settle(Ending(False, failure))

    def _in_thread(self, call: _Call, work: Callable[[], Any]) -> None:
        limit = self._node.runtime.settings.value_limit_bytes

        def run() -> None:
            try:
                self._node.check()
                with self._node.runtime.around_code("function"):
                    value = work()
                ending = Ending(True, payload.encode(value, limit=limit))
            except Exception as error:  # noqa: BLE001 - whatever the callee raises is its answer
                ending = Ending(False, payload.encode(failure_of(error)))
            call.settle(ending)

        self._node.submit(run)

    def _lua(
        self, call: _Call, entry: FunctionLua, args: bytes, context: Mapping[str, Any], identity: Identity,
        caller: Cell,
    ) -> None:  # fmt: skip
        node = self._node

        def start(has_place: bool) -> None:
            crowded = node.crowded()
            if crowded is not None:
                call.settle(Ending(False, payload.encode(failure_of(crowded))))
                if has_place:
                    node.pools.leave(entry)
                return
            cell = LuaCell(node, entry.id, entry.id, node.caller(entry.id, context, identity))
            cell.depth, cell.in_slot, cell.run_facts = caller.depth + 1, caller.in_slot, caller.run_facts
            cell.holds = caller.holds | {entry.id} if has_place else caller.holds
            if has_place:
                cell.when_ended(lambda _ending: node.pools.leave(entry))
            cell.when_ended(call.settle)
            if call.is_over:  # nobody waits for it any more
                node.end(cell, Ending(False))
                return
            call.callee(cell)
            node.add(cell)
            cell.run(args)

        node.pools.enter(entry, caller.holds, start)

    def _celery(
        self, call: _Call, entry: FunctionCelery, args: list[Any], identity: Identity, caller: Cell
    ) -> None:  # fmt: skip
        """Run a Celery task; where a slot is held meanwhile, in place if its code is here: it could wait for that."""
        runtime = self._node.runtime
        task = runtime.app.tasks.get(entry.task_name)
        given, keywords = entry.arguments(args)
        if task is not None and caller.in_slot and entry.canvas is None:
            self._in_thread(call, lambda: task(*given, **keywords))
            return
        options: dict[str, Any] = {"queue": entry.queue} if entry.queue else {}
        if identity.fields():
            options["headers"] = {IDENTITY: identity.fields()}
        if keywords:
            options["kwargs"] = keywords
        limit = runtime.settings.value_limit_bytes

        def done(error: BaseException | None, value: Any) -> None:
            try:
                ending = Ending(False, payload.encode(failure_of(error))) if error else Ending(
                    True, payload.encode(value, limit=limit)
                )
            except Exception as problem:  # noqa: BLE001 - a result that Lua cannot have
                ending = Ending(False, payload.encode(failure_of(problem)))
            call.settle(ending)

        self._node.celery.call(entry.task_name, given, options, done)

    def _process(
        self, call: _Call, entry: ProcessLua | ProcessPython, args: bytes, context: Mapping[str, Any],
        identity: Identity, caller: Cell,
    ) -> None:  # fmt: skip
        node = self._node
        request = SpawnRequest(
            entry_id=entry.id, host=entry.default_host or "", args=args, context=context, identity=identity,
            depth=caller.depth + 1, in_slot=caller.in_slot,
        )  # fmt: skip

        def answer(ok: bool, value: bytes) -> None:
            if not ok:
                failure = payload.decode_failure(value)
                text = f"failed to start process: {failure['message']}"
                call.settle(Ending(False, payload.encode({**failure, "kind": "Internal", "message": text})))
                return
            pid = str(payload.decode(value))
            cancel = partial(node.routes.cancel, pid, "caller context canceled", caller.pid, lambda _problem: None)
            call.abandoned = cancel
            if call.is_over:  # nobody waits for it any more
                cancel()

        node.spawning.spawn(request, answer, on_end=call.settle)
