"""Runs ``function.lua`` as a Celery task: a cell of this process' node, driven by the task's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestration.activity import in_activity, info, is_cancelled
from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import application_error
from orchestration.core.identity import Identity
from orchestration.errors import ApplicationError
from orchestration.host.cell import Ending
from orchestration.modules.caller import Caller
from orchestration.registry.kinds.lua import FunctionLua
from orchestration.store.inputs import encode_input
from orchestration.tasks.runtime import Runtime

if TYPE_CHECKING:
    from orchestration.host.lua_cell import PinnedCell
    from orchestration.host.node import Node

__all__ = ["run_function"]

_DEPTH_LIMIT = 64
_LOOK_EVERY_S = 0.5
_INTERRUPTED = payload.encode_failure("the function was interrupted", kind="Canceled", retryable=False)
_depth = threading.local()


def run_function(
    runtime: Runtime,
    function_id: str,
    args: Sequence[Any],
    *,
    context: Mapping[str, Any] | None = None,
    identity: Identity | None = None,
    on_start: Callable[[Caller], None] | None = None,
) -> Any:
    """Run a function to its end in this thread.

    Args:
        runtime: Of this process.
        function_id: Id of a ``function.lua`` entry.
        args: Its arguments.
        context: Context values; None takes those of the activity it runs as.
        identity: In whose name it runs; None takes that of the activity.
        on_start: Told who calls, before the code runs. With it the thread is its caller's own, no slot of a worker.

    Returns:
        Its first result.

    Raises:
        ApplicationError: It returned or raised an error: kind, message, retryable and details are its own.
        SandboxError: It left its limits.
        EncodeError: An argument cannot be carried.
    """
    from orchestration.host.lua_cell import PinnedCell

    depth = getattr(_depth, "value", 0)
    if depth >= _DEPTH_LIMIT:
        text = f"functions call each other more than {_DEPTH_LIMIT} deep"
        raise ApplicationError(text, kind="Internal", retryable=False)
    if context is None:
        context = info().context if in_activity() else {}
    if identity is None:
        identity = Identity(info().actor, info().scope) if in_activity() else Identity()
    packed = payload.encode(list(args), limit=runtime.settings.value_limit_bytes)
    runtime.registry.bundle(function_id)
    node = runtime.node
    cell = PinnedCell(node, function_id, function_id, node.caller(function_id, context, identity))
    cell.depth, cell.in_slot = depth, on_start is None
    if in_activity():
        run = info()
        cell.run_facts = {"workflow_id": run.workflow_id, "run_id": run.run_id, "workflow_type": run.workflow_type}
    entry = runtime.registry.get(function_id)
    node.add(cell)
    _depth.value = depth + 1
    try:
        if isinstance(entry, FunctionLua):
            _wait_for_place(node, cell, entry)
        if on_start is not None:
            on_start(cell.caller)
        # The activity itself is told on process.events(); functions that it calls are its own business.
        ending = cell.drive(packed, look=_look if in_activity() and depth == 0 else None)
    finally:
        _depth.value = depth
        if cell.ended is None:  # the thread is interrupted: by a soft time limit, by what cancels an activity
            node.end(cell, Ending(False, _INTERRUPTED))
    if cell.left_limits is not None:
        raise cell.left_limits
    if ending.ok:
        return payload.decode(ending.value)
    raise application_error(payload.decode_failure(ending.value), ApplicationError)


def _wait_for_place(node: Node, cell: PinnedCell, entry: FunctionLua) -> None:
    place = threading.Event()
    node.pools.enter(entry, frozenset(), lambda has_place: _take_place(node, cell, entry, has_place, place))
    while not place.wait(_LOOK_EVERY_S):
        if cell.is_closing:  # its node goes
            return


def _take_place(node: Node, cell: PinnedCell, entry: FunctionLua, has_place: bool, place: threading.Event) -> None:
    if has_place:
        cell.holds = frozenset({entry.id})
        cell.when_ended(lambda _ending: node.pools.leave(entry))  # at once when nobody waits for the place any more
    place.set()


def _look() -> bytes | None:
    return encode_input(Code.CANCEL_REQUESTED, "activity canceled", "") if is_cancelled() else None
