"""What processes and functions do with workflows: start them, send to them, end them, and hear of their end."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.core.pid import parse_pid
from orchestration.errors import ApplicationError, OrchestrationError, WorkflowNotFoundError
from orchestration.host.cell import Cell, Ending
from orchestration.store.inputs import encode_input
from orchestration.tasks.children import where
from orchestration.tasks.completion import watch_run
from orchestration.tasks.outbox import deliver_on, start_problem, terminate_on
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.start_options import request_options
from orchestration.tasks.starts import StartRequest, start
from orchestration.types import RunId

if TYPE_CHECKING:
    from orchestration.host.node import Node

__all__ = ["deliver", "expect_end", "hear", "spawn", "terminate", "watch"]

logger = logging.getLogger(__name__)

_MOST_TOLD: Final = 1_000


def deliver(runtime: Runtime, pid: str, item: bytes) -> ApplicationError | None:
    """Put an input into a workflow's inbox; None, or why it was not accepted."""
    namespace, run_id = _find(runtime, pid)
    status = deliver_on(runtime, namespace, run_id, item).status
    if status == "full":
        return ApplicationError(f"the inbox of {pid} is full", kind="RateLimited", retryable=True)
    return _ended(pid) if status == "closed" else None


def terminate(runtime: Runtime, pid: str, sender: str) -> ApplicationError | None:
    """End a workflow."""
    namespace, run_id = _find(runtime, pid)
    status = terminate_on(runtime, namespace, run_id, reason="", sender=sender).status
    return _ended(pid) if status == "closed" else None


def watch(node: Node, cell: Cell, pid: str, how: str) -> ApplicationError | None:
    """Begin or stop watching, or being linked to, a workflow; one that has ended already is told at once.

    The run keeps the address of who watches it; whoever closes it sends word, see :func:`hear`.
    """
    if how.startswith("un"):
        (cell.watched if how == "unmonitor" else cell.links).discard(pid)
        return None
    namespace, run_id = _find(node.runtime, pid)
    known = cell.watched if how == "monitor" else cell.links
    if pid in known or pid in cell.told:
        return None
    known.add(pid)
    watch_run(node.runtime, namespace, run_id, _watcher(cell, how), pid=pid)
    return None


def hear(cell: Cell, pid: str, how: str, ending: Ending) -> None:
    """Word has come of the end of a workflow.

    Args:
        cell: Who watches it.
        pid: Address of the workflow.
        how: What was asked for: monitor, link, or ``exec<number of the command>``.
        ending: How it ended.
    """
    if how.startswith("exec"):
        cell.push(encode_input(Code.CHILD_ENDED, int(how[4:]), pid, ending.ok, ending.value))
        return
    known = cell.watched if how == "monitor" else cell.links
    if pid not in known:
        return
    known.discard(pid)
    cell.told[pid] = None
    if len(cell.told) > _MOST_TOLD:
        cell.told.pop(next(iter(cell.told)))
    # For a link too: the normal end of a workflow is told to who is linked to it.
    said = "exit" if how == "monitor" or ending.ok else "down"
    cell.push(encode_input(Code.WATCHED_ENDED, pid, ending.ok, ending.value, said))


def spawn(
    node: Node, cell: Cell, workflow_type: str, host: str, args: bytes, *, options: Mapping[str, Any],
    context: Mapping[str, Any], identity: Identity,
) -> tuple[str, str, RunId]:  # fmt: skip
    """Start a workflow for a process.

    Returns:
        Its address, namespace and run id.

    Raises:
        ApplicationError: It could not be started.
    """
    runtime = node.runtime
    try:
        queue, worker = where(runtime, host, None)
        workflow_id = str(options.get("id") or options.get("name") or f"{os.urandom(12).hex()}")
        started = start(
            runtime,
            StartRequest(
                workflow_type=workflow_type, args=args, workflow_id=workflow_id,
                request_id=f"spawn/{os.urandom(12).hex()}", queue=options.get("task_queue") or queue,
                worker=worker, context=context, sender=cell.pid, identity=identity,
                **request_options(options),
            ),
        )  # fmt: skip
    except (OrchestrationError, ValueError) as error:
        raise ApplicationError(str(error), kind=start_problem(error), retryable=False) from error
    return started.pid, started.namespace, started.run_id


def expect_end(node: Node, cell: Cell, seq: int, namespace: str, run_id: RunId, pid: str) -> None:
    """Have the end of a run answer a command of a cell."""
    watch_run(node.runtime, namespace, run_id, _watcher(cell, f"exec{seq}"), pid=pid)


def _watcher(cell: Cell, how: str) -> str:
    """How a run that is watched knows a process."""
    return f"@{cell.node.id}/{cell.unique}/{how}"


def _find(runtime: Runtime, pid: str) -> tuple[str, RunId]:
    """Namespace and latest run of an address."""
    target = parse_pid(pid)
    if target is not None:
        for namespace in runtime.namespaces:
            try:
                return namespace, runtime.store(namespace).runs.current(target.unique)
            except WorkflowNotFoundError:
                continue
    raise ApplicationError(f"process not found: {pid}", kind="NotFound", retryable=False)


def _ended(pid: str) -> ApplicationError:
    return ApplicationError(f"process not found: {pid} has ended", kind="NotFound", retryable=False)
