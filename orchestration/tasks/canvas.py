"""A whole canvas as one activity: a ``function.celery`` entry with a ``canvas`` instead of a ``task``.

The entry is a Celery task of its own, on workers with the extension: it lets the factory make the canvas, publishes it
and ends without an outcome. The last task of the canvas is linked to a report, all of its tasks to one of failures.
What neither tells (a member that is revoked, expires, is not registered, or whose report is lost) is found in the
result backend, by the thread that looks after Celery's states.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from celery import Celery, states
from celery.canvas import Signature, group, maybe_signature
from celery.exceptions import Reject
from celery.result import GroupResult

from orchestration import activity
from orchestration.core import payload
from orchestration.errors import ApplicationError, StoreUnavailableError
from orchestration.registry.kinds.functions import FunctionCelery
from orchestration.store.attempts import AttemptId
from orchestration.store.results import Delivery
from orchestration.store.store import Store
from orchestration.tasks.attempts import Attempts
from orchestration.tasks.dispatch import read_open
from orchestration.tasks.effects import read_activity
from orchestration.tasks.foreign.links import report_links
from orchestration.tasks.foreign.results import ResultsAwayError, StoredResult, StoredResults
from orchestration.tasks.messages import MARK, AttemptMark, attempt_task_id
from orchestration.tasks.outcomes import completed_item
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.tokens import decode_token, encode_token
from orchestration.types import RunId

if TYPE_CHECKING:
    from orchestration.tasks.app import Orchestration

__all__ = ["CANVAS_FAILED_TASK", "Canvases", "canvas_body", "register_canvas_reports"]

logger = logging.getLogger(__name__)

CANVAS_FAILED_TASK: Final = "orchestration.canvas_failed"
"""Given the id of a task of a canvas that has failed, and ``attempt``: the token of the attempt."""

_NOBODY = "-"
_LOOK_MS = 2_000
_LONGEST_LOOK_MS = 60_000
_MOST_MEMBERS = 2_000
_STORED_TRIES = 6
_OPEN = "scheduled,claimed,external,waiting"


class Canvases:
    """The canvases that are activities.

    Args:
        runtime: Of this process.
        attempts: Settles attempts.
        results: Reads what Celery's tasks have stored.
    """

    def __init__(self, runtime: Runtime, attempts: Attempts, results: StoredResults) -> None:
        self._runtime = runtime
        self._attempts = attempts
        self._results = results

    def publish(self, mark: AttemptMark, canvas: Signature) -> None:
        """Send the tasks of a canvas in the name of an attempt.

        Args:
            mark: The attempt; its process holds it.
            canvas: What to send; anything that ends with one result, or a list of them.
        """
        runtime, attempt = self._runtime, mark.attempt
        canvas = _with_one_result(runtime.app, canvas)
        token, address = encode_token(mark.namespace, attempt), runtime.messages.report_address(mark.queue)
        link, link_error = report_links(token, address)
        canvas.set(task_id=_result_id(attempt))
        canvas.link(maybe_signature(link, app=runtime.app))
        canvas.link_error(maybe_signature({**link_error, "task": CANVAS_FAILED_TASK}, app=runtime.app))
        # Ahead: what is published and not yet noted here is found all the same.
        member = RunId(f"{attempt.run_id}/{attempt.seq}")
        runtime.store(mark.namespace).shown.put(member, after_ms=_LOOK_MS)
        result = canvas.apply_async(add_to_parent=False)
        activity.heartbeat({"members": _ids_of(result)})

    def failed(self, token: str, task_id: str) -> bool:
        """A task of a canvas has failed.

        Returns:
            False when its error is not in the result backend yet, or that does not answer.
        """
        namespace, attempt = decode_token(token)
        try:
            stored = self._results.read("", task_id)
        except ResultsAwayError as error:
            logger.warning("%s", error)
            return False
        if stored.is_ready:
            self._settle(namespace, attempt, stored)
        return stored.is_ready

    def lost(self, token: str) -> None:
        """A task of a canvas has failed, and its error is nowhere."""
        namespace, attempt = decode_token(token)
        self._settle(namespace, attempt, StoredResult(states.PENDING, None))

    def look(self, namespace: str, store: Store, member: str) -> int:
        """See in the result backend how the canvas of an activity stands.

        Args:
            namespace: Of the run.
            store: Of the namespace.
            member: Run and number of the activity, joined by ``/``.

        Returns:
            Milliseconds until it is to be looked at again; 0 when it is done.
        """
        run, _, number = member.partition("/")
        run_id, seq = RunId(run), int(number)
        found = read_open(self._runtime, store, run_id, seq)
        if found is None or found[1].state not in ("claimed", "external"):
            return 0
        attempt = AttemptId(run_id, seq, found[1].attempt, found[1].token)
        result_id = _result_id(attempt)
        details = store.runs.open_commands(run_id).get(f"{seq}:h")
        noted = payload.decode(details) if details else {}
        members = [result_id, *(noted.get("members", ()) if isinstance(noted, Mapping) else ())]
        stored = self._results.read_many(dict.fromkeys(map(str, members), ""))
        ended = stored.get(result_id)
        if ended is None or not ended.is_ready:
            ended = next((result for result in stored.values() if result.state in states.PROPAGATE_STATES), None)
        if ended is not None and ended.is_ready:
            delivery = self._settle(namespace, attempt, ended)
            logger.info("canvas reported by its result: %s", delivery.status, extra={"run_id": run_id, "seq": seq})
            return 0
        waited_ms = self._runtime.redis_now_ms() - found[1].since_ms
        return min(max(waited_ms // 4, _LOOK_MS), _LONGEST_LOOK_MS)

    def _settle(self, namespace: str, attempt: AttemptId, stored: StoredResult) -> Delivery:
        runtime = self._runtime
        store = runtime.store(namespace)
        found, records = read_open(runtime, store, attempt.run_id, attempt.seq), store.runs.records([attempt.run_id])
        opened = read_activity(found[0]) if found else None
        if found is None or opened is None or not records:
            return Delivery("dropped", "activity closed")
        queue = records[0].fields.get("queue", "")
        outcome = stored.outcome(opened.target, runtime.settings.value_limit_bytes)
        if outcome.kind == "completed":
            item = completed_item(attempt, outcome.result)
            return self._attempts.settle(
                namespace, attempt, queue, outcome="completed", item=item, claimed_by=_NOBODY
            )
        # It may fail while the task that has published it is still held by its worker.
        return self._attempts.decide(
            namespace, attempt, queue, opened, found[1], outcome.failure, claimed_by=_NOBODY, states=_OPEN
        )


def canvas_body(orchestration: Orchestration, entry: FunctionCelery) -> Any:
    """The body of the Celery task that a canvas entry is."""

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        canvas = _make(orchestration, entry, args, kwargs)
        if isinstance(canvas, group) and not canvas.tasks:
            return []
        if not activity.in_activity():
            return self.replace(_with_one_result(orchestration.app, canvas))  # raises, or runs it at once
        orchestration.parts.canvases.publish(AttemptMark.from_header(self.request.get(MARK)), canvas)
        return activity.complete_later()

    return run


def register_canvas_reports(orchestration: Orchestration) -> None:
    """Register the task that is told of failures."""

    # With bind=True, and one positional argument, an errback is sent as a message wherever it is called.
    def canvas_failed(self: Any, task_id: str, *, attempt: str) -> None:
        try:
            if orchestration.parts.canvases.failed(attempt, task_id):
                return
            if self.request.retries < _STORED_TRIES:  # a chord calls its errbacks before it stores its error
                raise self.retry(countdown=0.1 * 2**self.request.retries, max_retries=None)
            orchestration.parts.canvases.lost(attempt)
        except StoreUnavailableError as error:
            logger.warning("report put back: %s", error)
            raise Reject(str(error), requeue=True) from error

    orchestration.app.task(
        canvas_failed, name=CANVAS_FAILED_TASK, bind=True, shared=False, lazy=False, ignore_result=True,
        acks_late=True, reject_on_worker_lost=True, track_started=False,
    )  # fmt: skip


def _make(
    orchestration: Orchestration, entry: FunctionCelery, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Signature:
    from orchestration.tasks.entries import resolve_callable

    with orchestration.around_code("function"):
        canvas = resolve_callable(entry, field="canvas")(*args, **kwargs)
    if not isinstance(canvas, Signature):
        text = f"{entry.id}: {entry.canvas} returned {canvas!r:.100}, not a signature, chain, group or chord"
        raise ApplicationError(text, kind="Invalid", retryable=False)
    return maybe_signature(canvas, app=orchestration.app, clone=True)


def _with_one_result(app: Celery, canvas: Signature) -> Signature:
    """The canvas, its results collected into a list when it ends with a group."""
    if not isinstance(canvas.clone().freeze(), GroupResult):
        return canvas
    return canvas | app.signature("celery.accumulate", kwargs={"index": 0})  # as Celery's own ``replace`` does it


def _result_id(attempt: AttemptId) -> str:
    """Celery task id of what has the result of an attempt's canvas."""
    return str(uuid.uuid5(uuid.UUID(attempt_task_id(attempt)), "canvas"))


def _ids_of(result: Any) -> list[str]:
    """Task ids of a canvas, those that end it first."""
    found: dict[str, None] = {}
    left = [result]
    while left and len(found) < _MOST_MEMBERS:
        part = left.pop(0)
        if isinstance(part, GroupResult):
            left.extend(part.results)
        else:
            found[str(part.id)] = None
        if part.parent is not None:
            left.append(part.parent)
    return list(found)
