"""Completes the Celery task that a workflow is: result stored, links called, chain continued, chord counted.

Everything here may be done again: ids of what is published are derived from the workflow's, a stored success is not
overwritten, and the chord counts a task once.

Source: the order of callbacks, chain and result follows ``build_tracer`` of Celery 5.7 (celery/app/trace.py).
"""

from __future__ import annotations

import uuid
from typing import Any

import msgpack
from celery.app.task import Context
from celery.canvas import maybe_signature
from celery.exceptions import TaskRevokedError

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import workflow_error
from orchestration.errors import StoreUnavailableError
from orchestration.store.inputs import encode_input
from orchestration.store.outcome import Outcome, read_outcome
from orchestration.store.results import RunRecord
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["complete_outer"]

_IDS = uuid.UUID("6f7263e0-0000-5000-8000-63616c6c6261")


def complete_outer(runtime: Runtime, namespace: str, run_id: RunId) -> None:
    """Tell everyone who waits for a run that it has ended: its parent, and the Celery task that it is.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        run_id: A run that has ended.
    """
    store = runtime.store(namespace)
    record = store.runs.record(run_id, extra=True)
    outcome = read_outcome(store.runs.last_event(run_id))
    parent = record.fields.get("parent")
    if parent:
        _tell_parent(runtime, namespace, record, outcome, parent)
    task_id = record.fields.get("task", record.fields["id"])
    if task_id:
        _complete_task(runtime, record, outcome, task_id)


def _tell_parent(runtime: Runtime, namespace: str, record: RunRecord, outcome: Outcome, parent: str) -> None:
    from orchestration.errors import WorkflowNotFoundError
    from orchestration.tasks.outbox import deliver

    parent_run, _, seq = parent.partition("/")
    pid = record.extra.get("pid", b"").decode()
    item = encode_input(Code.CHILD_ENDED, int(seq), pid, outcome.ok, outcome.encoded)
    try:
        deliver(runtime, namespace, RunId(parent_run), item, request_id=f"e/{record.run_id}")
    except WorkflowNotFoundError:
        return  # the parent's retention is over: nobody waits


def _complete_task(runtime: Runtime, record: RunRecord, outcome: Outcome, task_id: str) -> None:
    app = runtime.app
    stored: dict[str, Any] = {"id": task_id, "task": record.fields["type"]}
    if "request" in record.extra:
        stored.update(msgpack.unpackb(record.extra["request"], raw=False, strict_map_key=False))
    stored.setdefault("delivery_info", {})
    request = Context(stored, called_directly=False)
    task = app.tasks.get(record.fields["type"])
    backend = task.backend if task is not None else app.backend
    if outcome.ok:
        result = payload.decode(outcome.value)
        try:
            _publish_followers(runtime, request, task_id, result)
            backend.mark_as_done(task_id, result, request=request)
            return
        except StoreUnavailableError:
            raise
        except Exception as error:
            if isinstance(error, runtime.messages.broker_errors):
                raise  # it passes: the sweep does this again
            # It will not pass: the task fails with it, as one of Celery's own would.
            failure: Exception = error
    elif record.status == "cancelled":
        message = str((outcome.failure or {}).get("message", ""))
        backend.mark_as_failure(task_id, TaskRevokedError(message), request=request, state="REVOKED")
        return
    else:
        failure = workflow_error(record.status, outcome.failure or {})
    backend.mark_as_failure(task_id, failure, request=request)


def _publish_followers(runtime: Runtime, request: Any, task_id: str, result: Any) -> None:
    options = {"parent_id": task_id, "root_id": request.root_id or task_id, "add_to_parent": False}
    children = []
    for index, callback in enumerate(request.callbacks or []):
        signature = maybe_signature(callback, app=runtime.app)
        if not signature.options.get("task_id"):
            signature.set(task_id=str(uuid.uuid5(_IDS, f"{task_id}/{index}")))
        children.append(signature.apply_async((result,), **options))
    if request.chain:
        following = maybe_signature(request.chain[-1], app=runtime.app)
        children.append(following.apply_async((result,), chain=request.chain[:-1], **options))
    if children:
        request.children.extend(children)
