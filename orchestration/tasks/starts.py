"""Starts runs: from a client, a Celery message, another run. The run is written before anything is published."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
from kombu import Producer

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.flags import FORMAT, LUA, current_flags
from orchestration.core.pid import make_pid
from orchestration.errors import (
    EntryNotFoundError,
    OrchestrationError,
    WorkflowAlreadyStartedError,
)
from orchestration.faults import fault
from orchestration.registry.kinds.lua import WorkflowLua
from orchestration.store.inputs import encode_input
from orchestration.store.keys import check_workflow_id
from orchestration.tasks.runtime import Runtime
from orchestration.types import Pid, RunId

__all__ = ["RUN_MARK", "StartRequest", "Started", "kept_request", "start", "start_child", "workflow_args"]

RUN_MARK = "orchestration_run"
"""Header of a start message whose run has been written: namespace and run id."""

_KEPT = (
    "callbacks", "errbacks", "chain", "chord", "group", "group_index", "root_id", "parent_id", "ignore_result",
    "reply_to", "correlation_id", "retries", "replaced_task_nesting", "stamped_headers", "stamps", "expires",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What a run is started with.

    Attributes:
        workflow_type: Entry id, or the type name the entry declares.
        args: Arguments of its main function, encoded as one array.
        workflow_id: The caller's name for it.
        request_id: Who asks: the same request never starts a second run.
        conflict: ``fail``, ``use_existing`` or ``terminate_existing``, when a run of the id is open.
        reuse: ``allow_duplicate``, ``allow_duplicate_failed_only`` or ``reject_duplicate``, when one has ended.
        task_id: Id of the Celery task that the run completes; empty: the run id.
        request: Facts of that Celery task, see :func:`kept_request`.
        queue: Another task queue than the entry's.
        run_timeout_ms: After which the run is ended; 0 for never.
        context: Context values.
        signals: Startup messages: topic and encoded array of payloads.
        sender: PID of the sender of those.
        parent: Run id and number of the parent's command.
        parent_pid: PID of the parent.
    """

    workflow_type: str
    args: bytes
    workflow_id: str
    request_id: str
    conflict: str = "fail"
    reuse: str = "allow_duplicate"
    task_id: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None
    run_timeout_ms: int = 0
    context: Mapping[str, Any] = field(default_factory=dict)
    signals: Sequence[tuple[str, bytes]] = ()
    sender: str = ""
    parent: tuple[str, int] | None = None
    parent_pid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A run, and what its start came to.

    Attributes:
        namespace: Of the run.
        workflow_id: Its name.
        run_id: The run that the answer is about.
        pid: Its address.
        queue: Its task queue; empty for Celery's default.
        status: ``started``, ``duplicate`` or ``exists``.
    """

    namespace: str
    workflow_id: str
    run_id: RunId
    pid: Pid
    queue: str
    status: str


def kept_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a Celery task that completing it later needs, without those that are empty."""
    kept = {name: request[name] for name in _KEPT if request.get(name)}
    if request.get("group_index") is not None:  # 0 is the first of a chord's header
        kept["group_index"] = request["group_index"]
    if kept.get("root_id") == request.get("id"):
        kept.pop("root_id", None)
    if kept.get("correlation_id") == request.get("id"):
        kept.pop("correlation_id", None)
    return kept


def workflow_args(args: Sequence[Any], kwargs: Mapping[str, Any], *, limit: int) -> bytes:
    """Arguments of a workflow's main function; keyword arguments become one table, the last argument.

    Raises:
        EncodeError: A value cannot be carried; the message has its path.
        PayloadTooLargeError: Together they are above the limit.
    """
    values = [*args, dict(kwargs)] if kwargs else list(args)
    return payload.encode(values, limit=limit)


def start(
    runtime: Runtime,
    wanted: StartRequest,
    *,
    message: Callable[[str, RunId], Callable[[Producer], object]] | None = None,
) -> Started:
    """Write a run and have a worker look after it.

    Args:
        runtime: Of this process.
        wanted: What to start.
        message: Makes the message that brings the run to a worker, from namespace and run id; None: a plain wake-up.

    Returns:
        The run: a new one, or the one that the request or the conflict policy leads to.

    Raises:
        EntryNotFoundError: No workflow has this type.
        WorkflowAlreadyStartedError: The policies refuse another run of this workflow id.
        ValueError: The workflow id cannot be one, or a policy is unknown.
        StoreUnavailableError: Redis does not answer.
    """
    entry = find_workflow(runtime, wanted.workflow_type)
    namespace = runtime.namespace_of(entry.id)
    workflow_id = check_workflow_id(wanted.workflow_id)
    _check_policies(wanted)
    store = runtime.store(namespace)
    bundle = runtime.registry.bundle(entry.id)
    queue = wanted.queue if wanted.queue is not None else workflow_queue(runtime, entry.id)
    worker = runtime.registry.worker_of(entry.id)
    client = runtime.registry.client_of(entry.id)
    pid = make_pid(client.id if client else "celery", worker or "default", workflow_id)
    for _ in range(20):
        run_id = store.runs.new_id(workflow_id)
        send = message(namespace, run_id) if message else runtime.messages.resume(namespace, run_id, queue=queue)
        meta = _meta(runtime, wanted, run_id, entry, namespace, queue, pid)
        inputs = [encode_input(Code.STARTED, meta, wanted.args)]
        inputs += [encode_input(Code.SIGNAL, topic, args, wanted.sender) for topic, args in wanted.signals]
        pushes = runtime.messages.pushes(send)
        result = store.runs.start(
            run_id, workflow_id, request_id=wanted.request_id, digest=bundle.digest,
            bundle=b"" if bundle.digest in runtime.stored_bundles else bundle.encode(),
            fields=_fields(wanted, entry.id, queue, run_id), extra=_extra(wanted, pid), inputs=inputs,
            conflict="use_existing" if wanted.conflict == "use_existing" else "fail", reuse=wanted.reuse,
            run_timeout_ms=wanted.run_timeout_ms, pushes=pushes,
        )  # fmt: skip
        if result.status == "bundle_missing":
            runtime.stored_bundles.discard(bundle.digest)
            continue
        if result.status == "open" and wanted.conflict == "terminate_existing":
            from orchestration.tasks.outbox import terminate_run

            terminate_run(runtime, namespace, result.run_id, reason="replaced by a new start")
            continue
        break
    if result.status in ("open", "refused"):
        raise WorkflowAlreadyStartedError(workflow_id, result.run_id)
    if result.status not in ("started", "duplicate", "exists"):
        raise OrchestrationError(f"workflow {workflow_id!r} could not be started: {result.status}")
    runtime.stored_bundles.add(bundle.digest)
    fault("after_start")
    if result.status == "started" and not pushes.commands:
        runtime.messages.publish(send)
    if result.status == "exists":
        _signal_existing(runtime, namespace, result.run_id, wanted)
    return Started(
        namespace=namespace, workflow_id=workflow_id, run_id=result.run_id, pid=pid, queue=queue, status=result.status
    )


def find_workflow(runtime: Runtime, workflow_type: str) -> WorkflowLua:
    """The workflow entry of a type name.

    Raises:
        EntryNotFoundError: There is none.
    """
    entry = runtime.registry.workflow_type(workflow_type)
    if entry is None:
        other = runtime.registry.get(workflow_type)  # raises with the ids that are close
        raise EntryNotFoundError(workflow_type, f"it is a {other.kind}, not a workflow.lua")
    return entry


def workflow_queue(runtime: Runtime, entry_id: str) -> str:
    """Task queue of a workflow entry; empty for Celery's default."""
    return runtime.registry.task_queue(entry_id) or runtime.settings.default_queue or ""


def start_child(
    runtime: Runtime, namespace: str, *, parent: tuple[str, int, str], queue: str, workflow_type: str, host: str,
    args: bytes, options: Mapping[str, Any], context: Mapping[str, Any],
) -> Pid:  # fmt: skip
    """Start the child that a run asked for; the same command starts one child, however often it is performed.

    Args:
        runtime: Of this process.
        namespace: Of the parent.
        parent: Run id, number of the command, PID.
        queue: The parent's task queue.
        workflow_type: What to start.
        host: A worker's entry id, a queue name, or empty for the parent's queue.
        args: Encoded array.
        options: Of the command.
        context: Context values.

    Returns:
        PID of the child.
    """
    run_id, seq, parent_pid = parent
    child_queue: str | None = queue
    if host:
        entry = runtime.registry.find(host)
        child_queue = (runtime.registry.task_queue(host) or "") if entry is not None else host
    child_id = options.get("id") or f"{run_id}_{seq}"
    started = start(
        runtime,
        StartRequest(
            workflow_type=workflow_type, args=args, workflow_id=str(child_id), request_id=f"child/{run_id}/{seq}",
            queue=child_queue, context=context, parent=(run_id, seq), parent_pid=parent_pid, sender=parent_pid,
            conflict=str(options.get("id_conflict_policy") or "fail"),
            run_timeout_ms=int(options.get("run_timeout_ms") or 0),
        ),
    )  # fmt: skip
    if started.namespace != namespace:
        raise OrchestrationError(f"workflow {workflow_type} lives in namespace {started.namespace}, not {namespace}")
    return started.pid


def _check_policies(wanted: StartRequest) -> None:
    for name, value, allowed in (
        ("conflict", wanted.conflict, ("fail", "use_existing", "terminate_existing")),
        ("reuse", wanted.reuse, ("allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate")),
    ):
        if value not in allowed:
            raise ValueError(f"id {name} policy {value!r} is unknown: use one of {', '.join(allowed)}")


def _meta(
    runtime: Runtime, wanted: StartRequest, run_id: RunId, entry: WorkflowLua, namespace: str, queue: str, pid: Pid
) -> dict[str, Any]:
    """What the machine reads of a start. The code's digest is in the run's record; what is left out has its default."""
    meta: dict[str, Any] = {
        "workflow_id": wanted.workflow_id, "run_id": run_id, "type": entry.type_name, "pid": pid,
        "task_queue": queue or runtime.app.conf.task_default_queue, "namespace": namespace,
        "seed": os.urandom(16), "attempt": 1, "lua": LUA, "format": FORMAT,
    }  # fmt: skip
    if wanted.context:
        meta["ctx"] = dict(wanted.context)
    if current_flags():
        meta["flags"] = current_flags()
    if wanted.parent_pid:
        meta["parent_pid"] = wanted.parent_pid
    return meta


def _fields(wanted: StartRequest, entry_id: str, queue: str, run_id: RunId) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": entry_id}
    if wanted.task_id != wanted.workflow_id:  # the rule, so nothing is kept of it
        fields["task"] = wanted.task_id or run_id
    if queue:
        fields["queue"] = queue
    if wanted.parent:
        fields["parent"] = f"{wanted.parent[0]}/{wanted.parent[1]}"
        fields["task"] = ""
    return fields


def _extra(wanted: StartRequest, pid: Pid) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if wanted.request:
        extra["request"] = msgpack.packb(dict(wanted.request), default=_jsonable)
    if wanted.parent:
        extra["pid"] = pid
    return extra


def _jsonable(value: Any) -> Any:
    """Celery keeps signatures as dict subclasses, ids and times as objects."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _signal_existing(runtime: Runtime, namespace: str, run_id: RunId, wanted: StartRequest) -> None:
    from orchestration.tasks.outbox import deliver

    for index, (topic, args) in enumerate(wanted.signals):
        item = encode_input(Code.SIGNAL, topic, args, wanted.sender)
        deliver(runtime, namespace, run_id, item, request_id=f"{wanted.request_id}/{index}")
