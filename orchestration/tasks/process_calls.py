"""Calls a process that has a ``default_host`` like a function, from a thread that waits for its end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.activity import in_activity, info, is_cancelled, raise_if_cancelled
from orchestration.core import payload
from orchestration.core.failures import application_error
from orchestration.core.identity import Identity
from orchestration.errors import ApplicationError
from orchestration.host.cell import Ending
from orchestration.host.spawning import SpawnRequest
from orchestration.registry.kinds.lua import ProcessLua
from orchestration.registry.kinds.processes import ProcessPython
from orchestration.tasks.runtime import Runtime

__all__ = ["run_process"]

_LOOK_EVERY_S = 0.5


def run_process(
    runtime: Runtime,
    entry: ProcessLua | ProcessPython,
    args: Sequence[Any],
    *,
    context: Mapping[str, Any] | None = None,
    identity: Identity | None = None,
    in_slot: bool = True,
) -> Any:
    """Start a process on its default host, wherever that is served, and wait for its end.

    When the activity as which it runs is cancelled, or the thread is interrupted (as by a soft time limit), the process
    is asked to end, and not waited for.

    Args:
        runtime: Of this process.
        entry: An entry with a ``default_host``.
        args: Its arguments.
        context: Context values; None takes those of the activity.
        identity: In whose name it runs; None takes that of the activity.
        in_slot: The thread is a slot of a Celery worker: what the process calls must not wait for one.

    Returns:
        What it ended with.

    Raises:
        ApplicationError: It ended with an error, or it could not be started: that is of kind ``Internal``.
        Cancelled: The activity is not wanted any more.
        EncodeError: An argument cannot be carried.
    """
    if context is None:
        context = info().context if in_activity() else {}
    if identity is None:
        identity = Identity(info().actor, info().scope) if in_activity() else Identity()
    endings: queue.SimpleQueue[Ending] = queue.SimpleQueue()
    started: list[str] = []
    is_given_up = threading.Event()

    def give_up() -> None:
        is_given_up.set()
        for pid in started[:1]:
            runtime.node.routes.cancel(pid, "caller context canceled", "", lambda _problem: None)

    def answer(ok: bool, value: bytes) -> None:
        if ok:
            started.append(str(payload.decode(value)))
            if is_given_up.is_set():
                give_up()
            return
        failure = payload.decode_failure(value)
        text = f"failed to start process: {failure['message']}"
        endings.put(Ending(False, payload.encode({**failure, "kind": "Internal", "message": text})))

    request = SpawnRequest(
        entry_id=entry.id, host=entry.default_host or "", context=context, identity=identity, depth=1, in_slot=in_slot,
        args=payload.encode(list(args), limit=runtime.settings.value_limit_bytes),
    )  # fmt: skip
    runtime.node.spawning.spawn(request, answer, on_end=endings.put)
    while True:
        try:
            ending = endings.get(timeout=_LOOK_EVERY_S if in_activity() else None)
            break
        except queue.Empty:
            if is_cancelled() and started:
                give_up()
                raise_if_cancelled()
        except BaseException:
            give_up()
            raise
    if ending.ok:
        return payload.decode(ending.value)
    raise application_error(payload.decode_failure(ending.value), ApplicationError)
