"""Runs ``function.lua``: the same Lua machine as a workflow's, its commands performed at once instead of recorded."""

from __future__ import annotations

import heapq
import logging
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from orchestration.activity import in_activity, info, is_cancelled
from orchestration.core import payload
from orchestration.core.call_options import call_timeout_ms
from orchestration.core.events import Code
from orchestration.core.failures import application_error, failure_of
from orchestration.core.identity import Identity
from orchestration.core.machine import Machine, Mode
from orchestration.core.pid import make_pid
from orchestration.errors import ApplicationError
from orchestration.modules.caller import Caller
from orchestration.modules.permissions import refused_command, started_fields
from orchestration.modules.verbs import perform
from orchestration.registry.kinds.functions import FunctionCelery, FunctionPython
from orchestration.registry.kinds.lua import FunctionLua
from orchestration.store.inputs import encode_input, stamp
from orchestration.tasks.calls import with_retries
from orchestration.tasks.messages import IDENTITY
from orchestration.tasks.neighbours import Neighbours
from orchestration.tasks.runtime import Runtime

__all__ = ["run_function"]

logger = logging.getLogger(__name__)

_DEPTH_LIMIT = 64
_LOOK_EVERY_S = 1.0
_depth = threading.local()


class _FunctionHost:
    """What a function's machine needs from outside: the real clock, real chance, a log."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._extra = {"function_id": caller.entry_id}

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def random(self, n: int) -> bytes:
        return os.urandom(n)

    def log(self, level: str, text: str, fields: Mapping[str, Any]) -> None:
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        logging.getLogger("orchestration.lua").log(number, "%s", text, extra={**self._extra, "fields": dict(fields)})

    def verb(self, name: str, packed: bytes) -> tuple[bool, bytes]:
        return perform(self._caller, name, packed, now=True)


def run_function(
    runtime: Runtime,
    function_id: str,
    args: Sequence[Any],
    *,
    task_id: str = "",
    context: Mapping[str, Any] | None = None,
    identity: Identity | None = None,
) -> Any:
    """Run a function to its end in this thread.

    Args:
        runtime: Of this process.
        function_id: Id of a ``function.lua`` entry.
        args: Its arguments.
        task_id: Of the Celery task it runs as.
        context: Context values; None takes those of the activity it runs as.
        identity: In whose name it runs; None takes that of the activity.

    Returns:
        Its first result.

    Raises:
        ApplicationError: It returned or raised an error: kind, message, retryable and details are its own.
        SandboxError: It left its limits.
        EncodeError: An argument cannot be carried.
    """
    depth = getattr(_depth, "value", 0)
    if depth >= _DEPTH_LIMIT:
        text = f"functions call each other more than {_DEPTH_LIMIT} deep"
        raise ApplicationError(text, kind="Internal", retryable=False)
    if context is None:
        context = info().context if in_activity() else {}
    if identity is None:
        identity = Identity(info().actor, info().scope) if in_activity() else Identity()
    _depth.value = depth + 1
    try:
        return _Driver(runtime, function_id, task_id or os.urandom(8).hex(), context, identity).run(args)
    finally:
        _depth.value = depth


class _Driver:
    """Performs the commands of one call and feeds the answers back."""

    def __init__(
        self, runtime: Runtime, function_id: str, call_id: str, context: Mapping[str, Any], identity: Identity
    ) -> None:
        self._runtime = runtime
        self._id = function_id
        self._context = dict(context)
        self._identity = identity
        self._pid = make_pid("celery", function_id, call_id)
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, bytes]] = []
        self._ended = threading.Event()
        self._cancelled: set[int] = set()
        self._caller = Caller(
            runtime=runtime, entry_id=function_id, pid=self._pid, context=self._context, identity=identity,
            answer=self._answers.put,
        )  # fmt: skip
        self._neighbours = Neighbours(runtime, self._pid, self._context, self._answers.put, identity)
        # The activity itself is told on process.events(); functions that it calls are its own business.
        self._hears_of_cancel = in_activity() and getattr(_depth, "value", 0) <= 1

    def run(self, args: Sequence[Any]) -> Any:
        limits = self._runtime.settings.limits
        machine = Machine(
            self._runtime.registry.bundle(self._id), limits=limits, mode=Mode.FUNCTION, host=_FunctionHost(self._caller)
        )
        try:
            meta = {
                "workflow_id": "", "run_id": "", "type": self._id, "pid": self._pid, "task_queue": "", "namespace": "",
                "bundle": "", "seed": os.urandom(16), "attempt": 1, "lua": "5.4", "format": 1, "flags": [],
                "ctx": self._context, "tz": "UTC",
                **started_fields(self._runtime, self._identity),
            }  # fmt: skip
            item = encode_input(Code.STARTED, meta, payload.encode(list(args), limit=limits.payload_bytes))
            while True:
                with self._runtime.in_lua():
                    commands = machine.apply(stamp(item, time.time_ns() // 1_000_000))
                for command in commands:
                    code, *rest = msgpack.unpackb(command, raw=False, strict_map_key=False)
                    if code == Code.COMPLETE:
                        return payload.decode(rest[0])
                    if code == Code.FAIL:
                        raise application_error(payload.decode_failure(rest[0]), ApplicationError)
                    self._perform(code, rest)
                item = self._next()
        finally:
            self._ended.set()
            self._neighbours.close()
            self._caller.close()
            machine.close()

    def _perform(self, code: int, rest: list[Any]) -> None:
        refused = refused_command(self._runtime, self._identity, code, rest, self._pid)
        if refused is not None:
            self._answers.put(refused)
        elif code == Code.SCHEDULE_ACTIVITY:
            seq, target, args, options = rest
            self._spawn(seq, target, args, options)
        elif code == Code.START_TIMER:
            self._at(rest[1], rest[0], encode_input(Code.TIMER_FIRED, rest[0]))
        elif code in (Code.CANCEL_TIMER, Code.CANCEL_ACTIVITY):
            self._cancelled.add(rest[0])
        elif code == Code.SEND_SIGNAL:
            self._neighbours.send(*rest)
        elif code == Code.START_CHILD:
            self._neighbours.start(*rest)
        elif code == Code.CANCEL_EXTERNAL:
            self._neighbours.cancel(*rest)
        elif code == Code.WATCH:
            self._neighbours.watch(*rest)
        elif code == Code.PERFORM:
            self._ask(*rest)

    def _ask(self, seq: int, name: str, args: bytes) -> None:
        def ask() -> None:
            self._answers.put(encode_input(Code.OPERATION_DONE, seq, *perform(self._caller, name, args)))

        threading.Thread(target=ask, name=name, daemon=True).start()

    def _at(self, delay_ms: int, seq: int, item: bytes) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_ms / 1000, seq, item))

    def _next(self) -> bytes:
        """Wait for the next answer or timer."""
        while True:
            while self._timers and self._timers[0][1] in self._cancelled:
                heapq.heappop(self._timers)
            wait = max(self._timers[0][0] - time.monotonic(), 0) if self._timers else None
            if self._hears_of_cancel:
                wait = _LOOK_EVERY_S if wait is None else min(wait, _LOOK_EVERY_S)
            try:
                return self._answers.get(timeout=wait)
            except queue.Empty:
                if self._timers and self._timers[0][0] <= time.monotonic():
                    return heapq.heappop(self._timers)[2]
                if self._hears_of_cancel and is_cancelled():
                    self._hears_of_cancel = False
                    return encode_input(Code.CANCEL_REQUESTED, "activity canceled", "")

    def _spawn(self, seq: int, target: str, args: bytes, options: dict[str, Any]) -> None:
        context = {**self._context, **options.get("ctx", {})}
        identity = Identity.of(options, self._identity)
        values = payload.decode(args)
        wanted = {**getattr(self._runtime.registry.find(target), "options", {}), **options.get("options", {})}
        try:
            timeout_ms = call_timeout_ms(wanted)
        except ValueError as error:
            failure = payload.encode_failure(f"invalid options: {error}", kind="Invalid", retryable=False)
            self._answers.put(encode_input(Code.ACTIVITY_FAILED, seq, failure))
            return
        deadline = None
        if timeout_ms:  # what the call answers later finds its command closed
            deadline = time.monotonic() + timeout_ms / 1000
            failure = payload.encode_failure(f"{target} took too long", kind="Timeout", retryable=False)
            self._at(timeout_ms, seq, encode_input(Code.ACTIVITY_FAILED, seq, failure))

        def perform() -> Any:
            return self._call(target, values, context, identity)

        def call() -> None:
            try:
                answer = with_retries(perform, wanted, stop=self._ended, deadline=deadline)
                result = payload.encode(answer, limit=self._runtime.settings.value_limit_bytes)
                self._answers.put(encode_input(Code.ACTIVITY_COMPLETED, seq, result))
            except Exception as error:  # noqa: BLE001 - whatever the callee raises is its answer
                failure = payload.encode(failure_of(error))
                self._answers.put(encode_input(Code.ACTIVITY_FAILED, seq, failure))

        depth = getattr(_depth, "value", 0)

        def start() -> None:
            _depth.value = depth
            call()

        threading.Thread(target=start, name=f"call {target}", daemon=True).start()

    def _call(self, target: str, args: list[Any], context: Mapping[str, Any], identity: Identity) -> Any:
        """Run a function in place where its code is here, else as a Celery task that is waited for."""
        stand_in = self._runtime.stand_in(target)
        if stand_in is not None:
            return stand_in(*args)
        registry = self._runtime.registry
        entry = registry.find(target)
        if isinstance(entry, FunctionCelery) and isinstance(registry.find(entry.task), FunctionLua):
            target, entry = entry.task, registry.get(entry.task)  # run as a task here, it would be nobody's
        if isinstance(entry, FunctionLua):
            return run_function(self._runtime, target, args, context=context, identity=identity)
        if isinstance(entry, FunctionPython):
            from orchestration.tasks.entries import resolve_callable

            return resolve_callable(entry)(*args)
        if isinstance(entry, FunctionCelery):
            app = self._runtime.app
            task = app.tasks.get(entry.task)
            if task is not None:
                return task(*args)
            options: dict[str, Any] = {"queue": entry.queue} if entry.queue else {}
            if identity.fields():
                options["headers"] = {IDENTITY: identity.fields()}
            result = app.send_task(entry.task, args=args, **options)
            return result.get(timeout=self._runtime.settings.start_to_close_ms / 1000, disable_sync_subtasks=False)
        raise ApplicationError(
            f"no handler registered for target: {target}", kind="NotFound", retryable=False, details={"target": target}
        )
