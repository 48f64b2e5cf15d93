"""Child workflows: started once for a command, watched, and dealt with when their parent has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.errors import OrchestrationError, WorkflowNotFoundError
from orchestration.store.inputs import encode_input
from orchestration.tasks.cache import Session
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.start_options import request_options
from orchestration.types import Pid, RunId

__all__ = ["child_id", "end_orphan", "open_child", "start_child", "where"]


def open_child(session: Session, seq: int, options: Mapping[str, Any]) -> bytes:
    """What a run's open commands say of a child: the letter, and what becomes of the child if the run ends first."""
    policy = str(options.get("parent_close_policy") or "terminate")
    if policy == "abandon":
        return b"c"
    name = child_id(session.run_id, seq, options)
    packed: bytes = msgpack.packb(
        ["orphan", session.namespace, session.run_id, seq, session.pid, name, policy == "terminate"]
    )
    return b"c" + packed


def child_id(run_id: str, seq: int, options: Mapping[str, Any]) -> str:
    """Workflow id of the child that a command asks for."""
    return str(options.get("id") or options.get("name") or f"{run_id}_{seq}")


def where(runtime: Runtime, host: str, own_queue: str | None) -> tuple[str | None, str]:
    """Queue and worker entry that a host names.

    Args:
        runtime: Of this process.
        host: A worker's entry id, a queue, or empty.
        own_queue: For an empty host.
    """
    if not host:
        return own_queue, ""
    if runtime.registry.find(host) is None:
        return host, ""
    return runtime.registry.task_queue(host) or "", host


def start_child(
    runtime: Runtime, namespace: str, *, parent: tuple[str, int, str], queue: str, workflow_type: str, host: str,
    args: bytes, options: Mapping[str, Any], context: Mapping[str, Any],
) -> tuple[Pid, RunId, bool] | None:  # fmt: skip
    """Start the child that a run asked for; the same command starts one child, however often it is performed.

    Args:
        runtime: Of this process.
        namespace: Of the parent.
        parent: Run id, number of the command, PID.
        queue: The parent's task queue.
        workflow_type: What to start.
        host: A worker's entry id, a queue name, or empty for the parent's queue.
        args: Encoded array.
        options: Of the command, with the child's actor and scope.
        context: Context values.

    Returns:
        Address and run of the child, and whether it is this command's own and not one that was there already; None
        when the parent has ended meanwhile, and the child is not wanted any more.
    """
    from orchestration.tasks.starts import StartRequest, start

    run_id, seq, parent_pid = parent
    child_queue, worker = where(runtime, host, str(options.get("task_queue") or queue))
    if options.get("namespace") not in (None, "", namespace):
        raise ValueError(f"a child lives in its parent's namespace {namespace!r}, not in {options['namespace']!r}")
    started = start(
        runtime,
        StartRequest(
            workflow_type=workflow_type, args=args, workflow_id=child_id(run_id, seq, options),
            request_id=f"child/{run_id}/{seq}", queue=child_queue, worker=worker, namespace=namespace, context=context,
            identity=Identity.of(options), parent=(run_id, seq), parent_pid=parent_pid, sender=parent_pid,
            caller=str(options.get("trace") or ""), **request_options(options),
        ),
    )  # fmt: skip
    if not started.run_id:
        return None
    if started.namespace != namespace:
        raise OrchestrationError(f"workflow {workflow_type} lives in namespace {started.namespace}, not {namespace}")
    mine = started.status == "started"
    if not mine:
        record = runtime.store(namespace).runs.record(started.run_id)
        mine = record.fields.get("parent") == f"{run_id}/{seq}"
    return started.pid, started.run_id, mine


def end_orphan(
    runtime: Runtime, namespace: str, run_id: str, seq: int, parent_pid: str, child_id: str, terminate: bool
) -> None:
    """End, or ask to end, the child of a run that has ended; one that has not started yet never will.

    Args:
        runtime: Of this process.
        namespace: Of both.
        run_id: The parent.
        seq: Number of the command that asked for the child.
        parent_pid: Address of the parent.
        child_id: Workflow id of the child.
        terminate: End it; else ask it to end.
    """
    from orchestration.tasks.outbox import deliver_on, terminate_on

    store = runtime.store(namespace)
    if store.chains.bar_start(child_id, f"child/{run_id}/{seq}") is None:
        return
    try:
        found = store.runs.current(child_id)
        if store.runs.record(found).fields.get("parent") != f"{run_id}/{seq}":
            return  # it was there before, or has ended and another has its id
        reason, request_id = "its parent has ended", f"p/{run_id}/{seq}"
        if terminate:
            terminate_on(runtime, namespace, found, reason=reason, sender=parent_pid, request_id=request_id)
        else:
            item = encode_input(Code.CANCEL_REQUESTED, reason, parent_pid)
            deliver_on(runtime, namespace, found, item, request_id=request_id)
    except WorkflowNotFoundError:
        return
