"""How the bodies of activities end, as what the workflow or the store is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from celery import states
from celery.exceptions import Ignore

from orchestration.activity import ActivityInfo, CompleteLater
from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.failures import failure_of
from orchestration.errors import ApplicationError, EncodeError, PayloadTooLargeError
from orchestration.store.attempts import AttemptId
from orchestration.store.inputs import encode_input
from orchestration.tasks.messages import AttemptMark

__all__ = [
    "Outcome",
    "activity_info",
    "canceled_item",
    "completed_item",
    "failed_item",
    "final_failure",
    "outcome_of",
]

_REPLACED = "Replaced by new task"
"""What ``Task.replace`` raises Ignore with. Source: ``Task.on_replace`` of Celery 5.7."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a body has ended.

    Attributes:
        kind: ``completed``, ``failed``, ``waiting`` (it asked Celery to run it again) or ``later`` (somebody else
            reports).
        result: Encoded, when completed.
        failure: When it has failed, or why it wants to run again.
        retry: What it raised to run again.
    """

    kind: str
    result: bytes = b""
    failure: dict[str, Any] = field(default_factory=dict)
    retry: Any = None


def outcome_of(traced: Any, target: str, limit: int) -> Outcome:
    """Read what Celery's tracer of a task answers.

    Args:
        traced: Its answer.
        target: Entry id that was called, for messages.
        limit: Most bytes of a result.
    """
    info = traced.info
    if info is None:
        try:
            return Outcome("completed", payload.encode(traced.retval, limit=limit))
        except (EncodeError, PayloadTooLargeError) as error:
            what = f"the result of {target} cannot be carried: {error}"
            return _failed(ApplicationError(what, kind="Invalid", retryable=False))
    cause = info.retval
    if info.state == states.RETRY:
        return Outcome("waiting", failure=failure_of(getattr(cause, "exc", None) or cause), retry=cause)
    if isinstance(cause, CompleteLater) or (isinstance(cause, Ignore) and str(cause) == _REPLACED):
        return Outcome("later")  # what it was replaced by has its links
    if info.state in (states.IGNORED, states.REJECTED):
        text = f"the task ended without an outcome ({info.state})"
        return _failed(ApplicationError(text, kind="Unavailable", retryable=False))
    return _failed(cause if isinstance(cause, BaseException) else RuntimeError(repr(cause)))


def _failed(error: BaseException) -> Outcome:
    return Outcome("failed", failure=failure_of(error))


def completed_item(attempt: AttemptId, result: bytes, **facts: Any) -> bytes:
    """The input that gives a workflow an activity's result."""
    return encode_input(Code.ACTIVITY_COMPLETED, attempt.seq, result, {"attempt": attempt.attempt, **facts})


def failed_item(
    attempt: AttemptId, failure: Mapping[str, Any], options: Mapping[str, Any], *, retry_state: str = ""
) -> bytes:
    """The input that tells a workflow that an activity has failed for good.

    Args:
        attempt: The last attempt.
        failure: What it failed with.
        options: Of the call.
        retry_state: Why it is not tried again, where that is worth telling.
    """
    info = {"attempt": attempt.attempt, "activity_id": str(options.get("id") or attempt.seq)}
    if retry_state:
        info["retry_state"] = retry_state
    return encode_input(Code.ACTIVITY_FAILED, attempt.seq, payload.encode(dict(failure)), info)


def canceled_item(seq: int) -> bytes:
    """The input that tells a workflow that an activity was cancelled before a body of it ran."""
    failure = payload.encode_failure("operation canceled", kind="Canceled", retryable=False)
    return encode_input(Code.ACTIVITY_FAILED, seq, failure, {"activity_id": str(seq)})


def final_failure(failure: dict[str, Any]) -> dict[str, Any]:
    """A failure as the workflow sees it in the end: a timeout is not worth another call."""
    return {**failure, "retryable": False} if failure.get("kind") == "Timeout" else failure


def activity_info(mark: AttemptMark, details: bytes) -> ActivityInfo:
    """What a body can know of its attempt.

    Args:
        mark: The attempt.
        details: What the last heartbeat of an earlier attempt left, encoded; empty for nothing.
    """
    a = mark.attempt
    return ActivityInfo(
        workflow_id=mark.workflow_id, run_id=a.run_id, workflow_type=mark.workflow_type, target=mark.target,
        seq=a.seq, attempt=a.attempt, idempotency_key=mark.key, context=mark.context,
        actor=mark.identity.actor, scope=mark.identity.scope,
        heartbeat_details=payload.decode(details) if details else None,
    )  # fmt: skip
