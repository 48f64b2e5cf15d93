"""Completes the Celery task that a workflow is: result stored, links called, chain continued, chord counted.

Everything here may be done again: ids of what is published are derived from the workflow's, a stored success is not
overwritten, and the chord counts a task once.

Source: the order of callbacks, chain and result follows ``build_tracer`` of Celery 5.7 (celery/app/trace.py).
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from celery import states
from celery.app.task import Context
from celery.canvas import maybe_signature
from celery.exceptions import CeleryError, TaskRevokedError
from kombu.exceptions import EncodeError

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import workflow_error
from orchestration.errors import StoreUnavailableError, WorkflowNotFoundError
from orchestration.host.wire import Address
from orchestration.store.inputs import encode_input
from orchestration.store.outcome import Outcome, read_outcome
from orchestration.store.results import RunRecord
from orchestration.store.store import Store
from orchestration.tasks.chain_options import ChainOptions
from orchestration.tasks.endings import announce_end
from orchestration.tasks.foreign.results import UNREADABLE
from orchestration.tasks.kept_request import unpack_request
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["backend_of", "child_failure", "complete_outer", "outer_request", "store_outcome", "watch_run"]

logger = logging.getLogger(__name__)

_IDS = uuid.UUID("6f7263e0-0000-5000-8000-63616c6c6261")
_TOLD = "told"
"""Name, among the larger facts of a run, of the note that what follows its task has been sent."""
_REFUSED = (EncodeError, TypeError, ValueError)
"""What storing a result raises that cannot be written, however often it is tried."""


def complete_outer(runtime: Runtime, namespace: str, run_id: RunId) -> None:
    """Tell everyone who waits for a run that it has ended: its schedule, its parent, the Celery task that it is.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        run_id: A run that has ended.
    """
    store = runtime.store(namespace)
    record = store.runs.record(run_id, extra=True)
    outcome = read_outcome(store.runs.last_event(run_id))
    if record.fields.get("schedule"):
        store.schedules.nudge(record.fields["schedule"])
    parent = record.fields.get("parent")
    if parent:
        _tell(runtime, f"{namespace}/{parent}", record, outcome, record.extra.get("pid", b"").decode())
    for name, pid in record.extra.items():
        if name.startswith("watch:"):
            _tell(runtime, name.removeprefix("watch:"), record, outcome, pid.decode())
    if record.task_id:
        _complete_task(runtime, store, record, outcome)
    store.claims.settle(record.fields["id"])
    announce_end(runtime, namespace, record, None if outcome.ok else outcome.failure or {})


def watch_run(runtime: Runtime, namespace: str, run_id: RunId, watcher: str, *, pid: str) -> None:
    """Have the end of a run that was there before told to a run that waits for it; at once when it has ended.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        run_id: The run; the runs that take its place are followed.
        watcher: Namespace, run and number of the command that waits, joined by ``/``; of a process ``@`` and its node,
            its number there, and what it asked for.
        pid: By which address the watcher knows the run.
    """
    store = runtime.store(namespace)
    while (answer := store.chains.watch(run_id, watcher, pid=pid)).status == "closed":
        records = store.runs.records([run_id])
        if not records:
            text = f"{pid} has ended, and its retention is over: how is not known any more"
            _deliver_end(runtime, watcher, pid, False, payload.encode_failure(text, kind="NotFound", retryable=False))
            return
        record = records[0]
        if "next" not in record.fields:
            _tell(runtime, watcher, record, read_outcome(store.runs.last_event(run_id)), pid)
            return
        run_id = RunId(record.fields["next"])
    assert answer.status == "watching"


def _tell(runtime: Runtime, watcher: str, record: RunRecord, outcome: Outcome, pid: str) -> None:
    value = outcome.value if outcome.ok else payload.encode(child_failure(record, outcome.failure or {}))
    _deliver_end(runtime, watcher, pid, outcome.ok, value)


def _deliver_end(runtime: Runtime, watcher: str, pid: str, ok: bool, value: bytes) -> None:
    from orchestration.tasks.outbox import deliver

    if watcher.startswith("@"):
        from orchestration.host.mail import send_mail

        node, unique, how = watcher[1:].split("/")
        send_mail(runtime, Address(node, "", unique), f"end/{watcher}/{pid}", "workflow_end", pid, how, ok, value)
        return  # a process that is no more waits for nothing
    namespace, run, seq = watcher.rsplit("/", 2)
    item = encode_input(Code.CHILD_ENDED, int(seq), pid, ok, value)
    try:
        deliver(runtime, namespace, RunId(run), item, request_id=f"e/{watcher}")
    except WorkflowNotFoundError:
        return  # the watcher's retention is over: nobody waits


def child_failure(record: RunRecord, failure: Mapping[str, Any]) -> dict[str, Any]:
    """The failure of a run as the run that started it reads it."""
    details = failure.get("details")
    options = ChainOptions(record.fields.get("opts", ""))
    if options.retry is None:
        state = "retry_policy_not_set"
    elif record.status == "timed_out":
        state = "timeout"
    else:
        state = "non_retryable_failure" if failure.get("retryable") is False else "maximum_attempts_reached"
    return {
        **failure,
        "details": {
            **(details if isinstance(details, dict) else {}),
            "_wrapper": "child_workflow", "_workflow_id": record.fields["id"], "_workflow_type": record.fields["type"],
            "_run_id": record.run_id, "_retry_state": state,
        },
    }  # fmt: skip


def backend_of(runtime: Runtime, record: RunRecord) -> Any:
    """The result backend of the Celery task that a run is."""
    task = runtime.app.tasks.get(record.fields["type"])
    return task.backend if task is not None else runtime.app.backend


def outer_request(record: RunRecord) -> Context:
    """The Celery task that a run is, as far as completing it needs; the record is one with its larger facts."""
    stored: dict[str, Any] = {"id": record.task_id, "task": record.fields["type"]}
    if "request" in record.extra:
        stored.update(unpack_request(record.extra["request"]))
    stored.setdefault("delivery_info", {})
    return Context(stored, called_directly=False)


def store_outcome(runtime: Runtime, store: Store, record: RunRecord) -> None:
    """Store the outcome of a run again as the result of its Celery task; nobody is called."""
    outcome = read_outcome(store.runs.last_event(record.run_id))
    backend, request = backend_of(runtime, record), outer_request(record)
    if outcome.ok:
        backend.store_result(record.task_id, payload.decode(outcome.value), states.SUCCESS, request=request)
        return
    failure, state = _failure_of(record, outcome)
    backend.store_result(record.task_id, failure, state, request=request)


def _failure_of(record: RunRecord, outcome: Outcome) -> tuple[Exception, str]:
    """The exception that a run without a result ends its Celery task with, and the state."""
    failure = outcome.failure or {}
    if record.status != "cancelled":
        return workflow_error(record.status, failure), states.FAILURE
    message = str((failure.get("details") or {}).get("reason") or failure.get("message", ""))
    return TaskRevokedError(message), states.REVOKED


def _complete_task(runtime: Runtime, store: Store, record: RunRecord, outcome: Outcome) -> None:
    backend, request = backend_of(runtime, record), outer_request(record)
    if outcome.ok:
        result, published = payload.decode(outcome.value), _TOLD in record.extra
        _knock(backend, request, record.task_id)
        try:
            if published:  # by an earlier try, which could not store the result
                request.children.extend(follower.freeze() for follower in _followers(runtime, request, record.task_id))
            else:
                _publish_followers(runtime, request, record.task_id, result)
            published = True
            backend.mark_as_done(record.task_id, result, request=request)
            return
        except StoreUnavailableError:
            raise
        except Exception as error:
            # A result backend that is away raises what its driver has, a broker what its transport has: with Redis a
            # KeyError is among that, as which Celery says that there is no such queue.
            if published:
                passes = not isinstance(error, _REFUSED)
            else:
                passes = isinstance(error, runtime.messages.broker_errors) and not isinstance(error, CeleryError)
            if passes:
                if published and (request.callbacks or request.chain) and _TOLD not in record.extra:
                    store.chains.note_told(record.run_id, _TOLD)
                raise  # the sweep does this again
            # It will not pass: the task fails with it, as one of Celery's own would.
            failure, state = error, states.FAILURE
    else:
        failure, state = _failure_of(record, outcome)
    try:
        backend.mark_as_failure(record.task_id, failure, request=request, state=state)
    except (CeleryError, *_REFUSED):
        # It is stored by now, and would not pass: each further try would call the errbacks before it once more.
        facts = {"workflow_id": record.fields["id"], "run_id": record.run_id}
        logger.exception("not everybody is told that the workflow has failed", extra=facts)


def _knock(backend: Any, request: Any, task_id: str) -> None:
    """Raise what the result backend raises while it is away, before anything is sent.

    What follows has to be sent before the result is stored, which names it; and all of this is done again until the
    result is stored. A step after this one would run once more for each crash in between.
    """
    if not (request.callbacks or request.chain) or (request.ignore_result and not request.chord):
        return
    if hasattr(backend, "_get_task_meta_for"):  # not RPC, not the disabled one
        with contextlib.suppress(*UNREADABLE):
            backend.get_task_meta(task_id, cache=False)


def _publish_followers(runtime: Runtime, request: Any, task_id: str, result: Any) -> None:
    with runtime.messages.producer() as producer:
        _publish_by(producer, runtime, request, task_id, result)


def _publish_by(producer: Any, runtime: Runtime, request: Any, task_id: str, result: Any) -> None:
    options = {
        "parent_id": task_id, "root_id": request.root_id or task_id, "add_to_parent": False, "producer": producer,
    }  # fmt: skip
    callbacks = len(request.callbacks or [])
    children = []
    for at, follower in enumerate(_followers(runtime, request, task_id)):
        chain = {"chain": request.chain[:-1]} if at == callbacks else {}
        children.append(follower.apply_async((result,), **chain, **options))
    request.children.extend(children)


def _followers(runtime: Runtime, request: Any, task_id: str) -> list[Any]:
    """Signatures of the links of a task, then of the next step of its chain."""
    found = []
    for index, callback in enumerate(request.callbacks or []):
        signature = maybe_signature(callback, app=runtime.app)
        if not signature.options.get("task_id"):
            signature.set(task_id=str(uuid.uuid5(_IDS, f"{task_id}/{index}")))
        found.append(signature)
    if request.chain:
        found.append(maybe_signature(request.chain[-1], app=runtime.app))
    return found
