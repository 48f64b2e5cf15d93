"""Messages of ours that reach a worker which has not got their task: it belongs to other code, older or newer."""

from __future__ import annotations

import logging
from typing import Any

from orchestration.store.attempts import AttemptId
from orchestration.tasks.effects import read_activity
from orchestration.tasks.messages import MARK, AttemptMark
from orchestration.tasks.starts import RUN_MARK

__all__ = ["answer_unknown"]

logger = logging.getLogger(__name__)


def answer_unknown(consumer: Any) -> None:
    """Have a worker take up runs, and answer attempts, whose task it has not got.

    Celery marks the task as failed and throws the message away. For a run that would tell its caller of a failure while
    the run goes on: its code is in the store, so any worker can advance it. For an attempt nobody would be told.

    Args:
        consumer: The worker's consumer, before its loop starts.
    """
    refuse = consumer.on_unknown_task
    if getattr(refuse, "orchestrated", False):
        return

    def on_unknown_task(body: Any, message: Any, error: Exception) -> None:
        run, mark = message.headers.get(RUN_MARK), message.headers.get(MARK)
        if run is None and mark is None:
            refuse(body, message, error)
            return
        parts = consumer.app.orchestration.parts
        if run is not None:
            queue = str((message.delivery_info or {}).get("routing_key") or "")
            messages = parts.runtime.messages
            messages.publish(messages.resume(str(run[0]), str(run[1]), queue=queue))
        else:
            _fail(parts, AttemptMark.from_header(mark), str(message.headers.get("task")))
        message.ack_log_error(logger, consumer.connection_errors)

    on_unknown_task.orchestrated = True  # type: ignore[attr-defined]
    consumer.on_unknown_task = on_unknown_task


def _fail(parts: Any, mark: AttemptMark, task: str) -> None:
    """Report an attempt that cannot run here; a later one may find a worker that has the task."""
    attempt: AttemptId = mark.attempt
    found = parts.runtime.store(mark.namespace).attempts.read(attempt.run_id, attempt.seq)
    activity = read_activity(found[0]) if found else None
    if found is None or activity is None:
        return
    failure = {
        "message": f"no handler registered for target: {mark.target}: the worker has no Celery task {task!r}",
        "kind": "NotFound",
        "retryable": True,
        "details": {"target": mark.target, "task": task},
    }
    logger.error("attempt failed: the worker has no task %r", task, extra={"run_id": attempt.run_id})
    parts.attempts.decide(
        mark.namespace, attempt, mark.queue, activity, found[1], failure, claimed_by="-", states="scheduled"
    )
