"""Takes in what workers without the extension report: by the links of an attempt, or by the result that they stored."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from celery import Celery
from celery.exceptions import Reject
from kombu.utils.uuid import uuid

from orchestration.activity import _running
from orchestration.errors import ActivityTokenError, StoreError, StoreUnavailableError
from orchestration.store.attempts import AttemptId
from orchestration.store.results import Delivery
from orchestration.tasks.attempts import Attempts
from orchestration.tasks.effects import Activity, read_activity
from orchestration.tasks.engine import Engine
from orchestration.tasks.foreign.links import REPORT_FAILURE_TASK, REPORT_TASK
from orchestration.tasks.foreign.results import ResultsAwayError, StoredResult, StoredResults, completed
from orchestration.tasks.messages import attempt_task_id
from orchestration.tasks.outcomes import Outcome, completed_item, failed_item
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.tokens import decode_token

__all__ = ["Reports", "register_reports"]

logger = logging.getLogger(__name__)

_NOBODY = "-"
_STORED_WITHIN_MS = 2_000
"""A worker publishes the link of a success before it stores the result: so long it is left where it is."""

_LONGEST_PAUSE_S = 30.0

_FAILS = "scheduled,external,waiting"
"""States in which the failure of an attempt counts: one that is claimed is reported by the worker that runs it.

Waiting: a worker with the extension has run it, and Celery's own retry has sent it to whoever takes it.
"""


class Reports:
    """Reports of attempts that were run elsewhere. Every report may come twice, late, or not at all.

    Args:
        runtime: Of this process.
        engine: Advances the workflow afterwards.
        attempts: Settles attempts.
    """

    def __init__(self, runtime: Runtime, engine: Engine, attempts: Attempts) -> None:
        self._runtime = runtime
        self._engine = engine
        self._attempts = attempts
        self.results = StoredResults(runtime.app)

    def completed(self, token: str, result: Any) -> Delivery:
        """An attempt has ended well; its result is in the report, and may be deleted where it was stored."""
        namespace, attempt = decode_token(token)
        activity = self._activity(namespace, attempt)
        self._note(namespace, attempt, activity)
        target = activity.target if activity else "the task"
        return self.end(namespace, attempt, completed(result, target, self._runtime.settings.value_limit_bytes))

    def failed(self, token: str, task_id: str) -> Delivery:
        """An attempt has failed; why is in the result backend, written before this was sent.

        Args:
            token: Of the attempt.
            task_id: The Celery task that has failed: the attempt's, or one of the canvas that it stands for.

        Raises:
            ResultsAwayError: The result backend does not answer.
        """
        namespace, attempt = decode_token(token)
        activity = self._activity(namespace, attempt)
        stored = self.results.read(activity.task if activity else "", task_id)
        return self._take_in(namespace, attempt, activity, stored)

    def found(self, namespace: str, attempt: AttemptId, stored: StoredResult) -> Delivery:
        """The result of an attempt has been found by the sweep, and nobody had reported it.

        The workflow is advanced by whoever takes the wake-up: no Lua code runs in the sweep.
        """
        activity = self._activity(namespace, attempt)
        return self._take_in(namespace, attempt, activity, stored, claimed_by=_NOBODY)

    def _take_in(
        self, namespace: str, attempt: AttemptId, activity: Activity | None, stored: StoredResult,
        *, claimed_by: str | None = None,
    ) -> Delivery:  # fmt: skip
        """End an attempt as the result backend has it."""
        target = activity.target if activity else "the task"
        self._note(namespace, attempt, activity, deletes=False)
        outcome = stored.outcome(target, self._runtime.settings.value_limit_bytes)
        delivery = self.end(namespace, attempt, outcome, claimed_by=claimed_by)
        # Not before: whoever takes it in once more, after a loss of the store, has to find it there again.
        self._note(namespace, attempt, activity)
        return delivery

    def end(
        self, namespace: str, attempt: AttemptId, outcome: Outcome, *, claimed_by: str | None = None
    ) -> Delivery:
        """Settle an attempt and advance its workflow if it is served here.

        Args:
            namespace: Of the run.
            attempt: The attempt.
            outcome: How it has ended.
            claimed_by: ``-`` does not advance the workflow here.

        Returns:
            As the store answers; ``dropped`` for what was known already, or is not wanted any more.

        Raises:
            ActivityTokenError: It is of another deployment.
        """
        if namespace not in self._runtime.namespaces:
            text = f"a report of namespace {namespace!r}, which no workflow here is kept in"
            raise ActivityTokenError(text, "Invalid", False)
        records = self._runtime.store(namespace).runs.records([attempt.run_id])
        queue = records[0].fields.get("queue", "") if records else ""
        delivery = self._settle(namespace, attempt, queue, outcome, claimed_by)
        if delivery.status == "dropped":
            facts = {"run_id": attempt.run_id, "seq": attempt.seq, "attempt": attempt.attempt}
            logger.info("report dropped: %s", delivery.detail, extra=facts)
        with contextlib.suppress(StoreError):  # the lease runs out, the sweep gives the run to another
            self._engine.follow(namespace, delivery)
        return delivery

    def _settle(
        self, namespace: str, attempt: AttemptId, queue: str, outcome: Outcome, claimed_by: str | None
    ) -> Delivery:
        if outcome.kind == "completed":
            item = completed_item(attempt, outcome.result)
            return self._attempts.settle(
                namespace, attempt, queue, outcome="completed", item=item, claimed_by=claimed_by
            )
        found = self._runtime.store(namespace).attempts.read(attempt.run_id, attempt.seq)
        activity = read_activity(found[0]) if found else None
        if found is None or activity is None:  # closed: it is counted there
            item = failed_item(attempt, outcome.failure, {})
            return self._attempts.settle(
                namespace, attempt, queue, outcome="failed", item=item, claimed_by=claimed_by, states=_FAILS
            )
        return self._attempts.decide(
            namespace, attempt, queue, activity, found[1], outcome.failure, claimed_by=claimed_by, states=_FAILS
        )

    def _activity(self, namespace: str, attempt: AttemptId) -> Activity | None:
        """What is reported; None when it is closed."""
        if namespace not in self._runtime.namespaces:
            return None  # refused when it is settled
        found = self._runtime.store(namespace).attempts.read(attempt.run_id, attempt.seq)
        return read_activity(found[0]) if found else None

    def _note(self, namespace: str, attempt: AttemptId, activity: Activity | None, *, deletes: bool = True) -> None:
        if namespace not in self._runtime.namespaces:
            return
        task, queue = "", ""
        if activity is not None:
            task, queue = activity.task, self._runtime.messages.destination(activity.task, activity.queue)[1]
        leftover = f"{attempt_task_id(attempt)} {task}" if deletes else ""
        store = self._runtime.store(namespace)
        store.foreign.note_report(attempt, queue=queue, leftover=leftover, delay_ms=_STORED_WITHIN_MS)


def register_reports(orchestration: Any) -> None:
    """Register the tasks that workers without the extension call."""
    app: Celery = orchestration.app
    base = _report_class(app)
    options: dict[str, Any] = {
        "bind": True, "shared": False, "lazy": False, "base": base, "ignore_result": True, "acks_late": True,
        "reject_on_worker_lost": True, "track_started": False,
    }  # fmt: skip

    # With bind=True, and one positional argument, an errback is sent as a message wherever it is called.
    def report(self: Any, result: Any, *, attempt: str) -> None:
        del self
        _take(lambda: orchestration.parts.reports.completed(attempt, result))

    def report_failure(self: Any, task_id: str, *, attempt: str) -> None:
        try:
            _take(lambda: orchestration.parts.reports.failed(attempt, task_id))
        except ResultsAwayError as error:  # whether it may be tried again is said there
            logger.warning("report put off: %s", error)
            countdown = min(0.1 * 2 ** min(self.request.retries, 10), _LONGEST_PAUSE_S)
            raise self.retry(countdown=countdown, max_retries=None) from error

    app.task(report, name=REPORT_TASK, **options)
    app.task(report_failure, name=REPORT_FAILURE_TASK, **options)


def _take(act: Any) -> None:
    try:
        act()
    except StoreUnavailableError as error:
        logger.warning("report put back: %s", error)
        raise Reject(str(error), requeue=True) from error
    except (ActivityTokenError, ValueError) as error:
        logger.error("report dropped: %s", error)


def _report_class(app: Celery) -> type[Any]:
    """Base of the report tasks: not sent by a worker that reports the attempt itself.

    The links stay in the request all the time, so that Celery's own ``retry`` and ``replace`` hand them on.
    """
    parent: Any = app.Task

    class Report(parent):  # type: ignore[misc]
        abstract = True

        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            running = _running.get()
            if running is not None and kwargs and kwargs.get("attempt") == running.token():
                return self.AsyncResult(options.get("task_id") or uuid())
            return super().apply_async(args, kwargs, **options)

    return Report
