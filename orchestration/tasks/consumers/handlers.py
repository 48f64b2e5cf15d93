"""What a consumer calls for each message."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Any

from orchestration.core import payload
from orchestration.errors import ApplicationError, PayloadError
from orchestration.modules.caller import Caller, Identity
from orchestration.registry.kinds.functions import FunctionCelery, FunctionPython
from orchestration.registry.kinds.lua import FunctionLua, ProcessLua
from orchestration.registry.kinds.processes import ProcessPython
from orchestration.tasks.consumers.bodies import UndecodableError
from orchestration.tasks.functions import run_function
from orchestration.tasks.messages import IDENTITY
from orchestration.tasks.process_calls import run_process
from orchestration.tasks.runtime import Runtime

__all__ = ["call_handler"]


def call_handler(
    runtime: Runtime, target: str, args: Sequence[Any], *, identity: Identity,
    on_start: Callable[[Caller], None],
) -> None:  # fmt: skip
    """Call the function of a consumer to its end, in this thread where its code is here.

    Args:
        runtime: Of this process.
        target: Id of the function's entry, or of a process with a ``default_host``.
        args: Its arguments.
        identity: In whose name it runs.
        on_start: Told who calls, before the code runs; of Lua functions only.

    Raises:
        UndecodableError: These arguments can never be carried to it; no code has run.
        Exception: Whatever the function raises, or an ApplicationError for the error that it returns.
    """
    registry = runtime.registry
    entry = registry.find(target)
    if isinstance(entry, FunctionCelery) and isinstance(registry.find(entry.task_name), FunctionLua):
        entry = registry.find(entry.task_name)
    if isinstance(entry, FunctionLua | ProcessLua | ProcessPython):
        try:
            payload.encode(list(args), limit=runtime.settings.value_limit_bytes)
        except PayloadError as error:
            raise UndecodableError(str(error)) from error
    if isinstance(entry, FunctionLua):
        run_function(runtime, entry.id, args, context={}, identity=identity, on_start=on_start)
    elif isinstance(entry, FunctionPython):
        from orchestration.tasks.entries import resolve_callable

        resolve_callable(entry)(*args)
    elif isinstance(entry, FunctionCelery):
        _run_task(runtime, entry, args, identity)
    elif isinstance(entry, ProcessLua | ProcessPython) and entry.default_host:
        run_process(runtime, entry, args, context={}, identity=identity, in_slot=False)
    else:
        raise ApplicationError(f"no handler registered for target: {target}", kind="NotFound", retryable=False)


def _run_task(runtime: Runtime, entry: FunctionCelery, args: Sequence[Any], identity: Identity) -> None:
    """Send it to the workers that have always done it, and wait: this thread is no slot that it could need."""
    ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    options: dict[str, Any] = {"queue": entry.queue} if entry.queue else {}
    if identity.fields():
        options["headers"] = {IDENTITY: identity.fields()}
    given, keywords = entry.arguments(args)
    if keywords:
        options["kwargs"] = keywords
    runtime.node.celery.call(entry.task_name, given, options, lambda error, _value: ends.put(error))
    error = ends.get()
    if error is not None:
        raise error
