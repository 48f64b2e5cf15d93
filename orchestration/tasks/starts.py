"""Starts runs: from a client, a Celery message, another run. The run is written before anything is published."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kombu import Producer

from orchestration.core import payload
from orchestration.core.bundle import Bundle
from orchestration.core.events import Code
from orchestration.core.flags import FORMAT, LUA, current_flags
from orchestration.core.identity import Identity
from orchestration.core.pid import make_pid
from orchestration.errors import (
    EntryNotFoundError,
    InboxFullError,
    OrchestrationError,
    WorkflowAlreadyStartedError,
)
from orchestration.faults import fault
from orchestration.registry import DEFAULT_NAMESPACE
from orchestration.registry.kinds.lua import WorkflowLua
from orchestration.store.indexing import check_search
from orchestration.store.inputs import encode_input
from orchestration.store.keys import check_workflow_id
from orchestration.tasks.chain_options import ChainOptions, first_delay_ms
from orchestration.tasks.kept_request import pack_request
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.signatures import chord_ids
from orchestration.tasks.templates import about_run
from orchestration.types import Limits, Pid, RunId

__all__ = ["RUN_MARK", "StartRequest", "Started", "check_start", "start", "workflow_args"]

RUN_MARK = "orchestration_run"
"""Header of a start message whose run has been written: namespace and run id."""

_LOOK_MS = 1_000
_ATTRIBUTE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What a run is started with.

    Attributes:
        workflow_type: Entry id, or the type name the entry declares.
        args: Arguments of its main function, encoded as one array.
        workflow_id: The caller's name for it.
        request_id: Who asks: the same request never starts a second run.
        conflict: ``fail``, ``use_existing`` or ``terminate_existing``, when a run of the id is open.
        reuse: ``allow_duplicate``, ``allow_duplicate_failed_only`` or ``reject_duplicate``, when one has ended;
            ``terminate_if_running`` is ``terminate_existing`` by its older name.
        task_id: Id of the Celery task that the run completes; empty: the run id.
        request: Facts of that Celery task, see :func:`orchestration.tasks.kept_request.kept_request`.
        queue: Another task queue than the entry's. With it the code may be unknown here: the worker that takes the run
            up has it.
        worker: Entry id of the worker that was named as the host, for the address.
        namespace: For code that is unknown here; empty: the application's.
        run_timeout_ms: After which the run is ended; 0 for never.
        execution_timeout_ms: After which the workflow is ended, whichever of its runs is open; 0 for never.
        cancel_grace_ms: Time that a run is given to clean up, by a cancel request, before a timeout ends it.
        delay_ms: After which it begins.
        expires_ms: After which it is not to begin any more; 0 for never.
        retry: Policy by which a failed run is followed by another; None: it is not.
        cron: Schedule by which an ended run is followed by another; empty: it is not.
        search: Search attributes.
        memo: What else is shown of it.
        summary: A line for people.
        details: More for people.
        context: Context values.
        identity: Actor and scope; recorded with the start, and handed on to all that the run calls and starts.
        signals: Startup messages: topic and encoded array of payloads.
        update: A first update, taken in after them: its id, name and encoded array of arguments.
        sender: PID of the sender of those.
        parent: Run id and number of the parent's command.
        parent_pid: PID of the parent.
        schedule: Id of the schedule that starts it, which is told when the run ends.
        caller: The span that asks for it, as a ``traceparent``; empty: the one that this thread is in.
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
    worker: str = ""
    namespace: str = ""
    run_timeout_ms: int = 0
    execution_timeout_ms: int = 0
    cancel_grace_ms: int = 0
    delay_ms: int = 0
    expires_ms: int = 0
    retry: Mapping[str, Any] | None = None
    cron: str = ""
    search: Mapping[str, Any] = field(default_factory=dict)
    memo: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    details: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    identity: Identity = field(default_factory=Identity)
    signals: Sequence[tuple[str, bytes]] = ()
    update: tuple[str, str, bytes] | None = None
    sender: str = ""
    parent: tuple[str, int] | None = None
    parent_pid: str = ""
    schedule: str = ""
    caller: str = ""


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
        InboxFullError: The open run is used, and its inbox is full.
        ValueError: The workflow id cannot be one, or a policy is unknown.
        StoreUnavailableError: Redis does not answer.
    """
    wanted = check_start(wanted)
    workflow_id = check_workflow_id(wanted.workflow_id)
    code = _code(runtime, wanted)
    namespace, queue, bundle = code.namespace, code.queue, code.bundle
    digest = bundle.digest if bundle else ""
    store = runtime.store(namespace)
    pid = make_pid(code.client, code.worker, workflow_id)
    delay_ms = wanted.delay_ms
    if wanted.cron:
        delay_ms = first_delay_ms(wanted.cron, runtime.redis_now_ms())
    about = about_run(workflow_id, code.entry_id)
    for _ in range(20):
        run_id = store.runs.new_id(workflow_id)
        if message:
            send = message(namespace, run_id)
        else:
            send = runtime.messages.resume(namespace, run_id, queue=queue, about=about)
        meta = _meta(runtime, wanted, run_id, code, pid)
        inputs = [encode_input(Code.STARTED, meta, wanted.args)]
        inputs += [encode_input(Code.SIGNAL, topic, args, wanted.sender) for topic, args in wanted.signals]
        if wanted.update:
            inputs.append(encode_input(Code.UPDATE, *wanted.update, wanted.sender))
        pushes = runtime.messages.pushes(send)
        result = store.runs.start(
            run_id, workflow_id, request_id=wanted.request_id, digest=digest,
            bundle=b"" if bundle is None or digest in runtime.stored_bundles else bundle.encode(),
            fields=_fields(runtime, wanted, code, run_id), extra=_extra(wanted, pid), inputs=inputs,
            update=wanted.update[0] if wanted.update else "",
            conflict="use_existing" if wanted.conflict == "use_existing" else "fail", reuse=wanted.reuse,
            run_timeout_ms=wanted.run_timeout_ms, execution_timeout_ms=wanted.execution_timeout_ms, delay_ms=delay_ms,
            expires_ms=wanted.expires_ms, show_ms=_LOOK_MS if chord_ids(wanted.request) else 0,
            search=wanted.search, pushes=pushes,
        )  # fmt: skip
        if result.status == "bundle_missing":
            runtime.stored_bundles.discard(digest)
            continue
        if result.status == "open" and wanted.conflict == "terminate_existing":
            from orchestration.tasks.outbox import terminate_run

            terminate_run(runtime, namespace, result.run_id, reason="replaced by a new start")
            continue
        break
    if result.status in ("open", "refused"):
        raise WorkflowAlreadyStartedError(workflow_id, result.run_id)
    if result.status == "full":
        raise InboxFullError(workflow_id, int(result.detail))
    if result.status not in ("started", "duplicate", "exists"):
        raise OrchestrationError(f"workflow {workflow_id!r} could not be started: {result.status}")
    if bundle is not None:
        runtime.stored_bundles.add(bundle.digest)
    fault("after_start")
    if result.status == "started" and not pushes.commands and not delay_ms:
        runtime.messages.publish(send)
    if result.status == "exists" and result.detail == "wake":
        its_queue = store.runs.record(result.run_id).fields.get("queue", "")
        runtime.messages.publish(runtime.messages.resume(namespace, result.run_id, queue=its_queue))
    return Started(
        namespace=namespace, workflow_id=workflow_id, run_id=result.run_id, pid=pid, queue=queue, status=result.status
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """What is known here of the code of a start: all of it, or no more than where it is served."""

    entry_id: str
    type_name: str
    namespace: str
    queue: str
    client: str
    worker: str
    bundle: Bundle | None


def _code(runtime: Runtime, wanted: StartRequest) -> _Code:
    registry = runtime.registry
    if wanted.queue is not None and wanted.workflow_type not in registry:
        entry = registry.workflow_type(wanted.workflow_type)
    else:
        entry = find_workflow(runtime, wanted.workflow_type)
    worker = wanted.worker or (registry.worker_of(entry.id) if entry else "") or ""
    client = registry.client_of(worker) if worker in registry else None
    if entry is None:
        if not re.fullmatch(r"[^:\s]+:[^:\s]+", wanted.workflow_type):
            raise EntryNotFoundError(wanted.workflow_type, "a workflow type is written namespace:name")
        named = client.run_namespace if client else DEFAULT_NAMESPACE
        namespace = wanted.namespace or (runtime.settings.namespace if named == DEFAULT_NAMESPACE else named)
    else:
        namespace = runtime.namespace_of(entry.id)
    return _Code(
        entry_id=entry.id if entry else wanted.workflow_type,
        type_name=entry.type_name if entry else wanted.workflow_type, namespace=namespace,
        queue=wanted.queue if wanted.queue is not None else workflow_queue(runtime, entry.id if entry else ""),
        client=client.id if client else "celery", worker=worker or "default",
        bundle=registry.bundle(entry.id) if entry else None,
    )  # fmt: skip


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


def check_start(wanted: StartRequest) -> StartRequest:
    """Refuse what cannot be; put older names of policies into today's.

    Raises:
        ValueError: A policy is unknown, a schedule stands beside a delay, or a search attribute cannot be one.
    """
    if wanted.reuse == "terminate_if_running":
        wanted = replace(wanted, reuse="allow_duplicate", conflict="terminate_existing")
    for name, value, allowed in (
        ("conflict", wanted.conflict, ("fail", "use_existing", "terminate_existing")),
        ("reuse", wanted.reuse, ("allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate")),
    ):
        if value not in allowed:
            raise ValueError(f"id {name} policy {value!r} is unknown: use one of {', '.join(allowed)}")
    if wanted.cron and wanted.delay_ms:
        raise ValueError("a workflow has a cron schedule or a start delay, not both")
    check_search(wanted.search)
    return wanted


def _meta(runtime: Runtime, wanted: StartRequest, run_id: RunId, code: _Code, pid: Pid) -> dict[str, Any]:
    """What the machine reads of a start. The code's digest is in the run's record; what is left out has its default."""
    meta: dict[str, Any] = {
        "workflow_id": wanted.workflow_id, "run_id": run_id, "type": code.type_name, "pid": pid,
        "task_queue": code.queue or runtime.app.conf.task_default_queue, "namespace": code.namespace,
        "seed": os.urandom(16), "attempt": 1, "lua": LUA, "format": FORMAT,
    }  # fmt: skip
    if wanted.context:
        meta["ctx"] = dict(wanted.context)
    meta.update(wanted.identity.fields())
    if runtime.settings.value_limit_bytes != Limits().payload_bytes:
        meta["payload_bytes"] = runtime.settings.value_limit_bytes
    if current_flags():
        meta["flags"] = current_flags()
    if wanted.parent_pid:
        meta["parent_pid"] = wanted.parent_pid
    return meta


def _fields(runtime: Runtime, wanted: StartRequest, code: _Code, run_id: RunId) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": code.entry_id}
    if runtime.telemetry is not None:
        trace = runtime.telemetry.origin(run_id, wanted.caller or runtime.telemetry.caller())
        if trace:
            fields["trace"] = trace
    if wanted.task_id != wanted.workflow_id:  # the rule, so nothing is kept of it
        fields["task"] = wanted.task_id or run_id
    if code.queue:
        fields["queue"] = code.queue
    if wanted.request.get("ignore_result"):
        fields["quiet"] = "1"
    if wanted.schedule:
        fields["schedule"] = wanted.schedule
    if wanted.parent:
        fields["parent"] = f"{wanted.parent[0]}/{wanted.parent[1]}"
        fields["task"] = ""
    options = ChainOptions.encode(
        retry=wanted.retry, cron=wanted.cron, run_timeout_ms=wanted.run_timeout_ms,
        cancel_grace_ms=wanted.cancel_grace_ms,
    )  # fmt: skip
    if options:
        fields["opts"] = options
    return fields


def _extra(wanted: StartRequest, pid: Pid) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if wanted.request:
        extra["request"] = pack_request(wanted.request)
    if wanted.parent:
        extra["pid"] = pid
    for key, value in wanted.memo.items():
        extra[f"memo:{key}"] = payload.encode(value, limit=_ATTRIBUTE_BYTES)
    for name in ("summary", "details"):
        if getattr(wanted, name):
            extra[name] = payload.encode(getattr(wanted, name), limit=_ATTRIBUTE_BYTES)
    return extra
