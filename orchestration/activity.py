"""What the body of an activity can ask and say: ``info()``, ``heartbeat()``.

Works inside any Celery task (or function) that a workflow called on a worker with the extension; elsewhere
:func:`info` says that there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from orchestration.errors import ApplicationError, OrchestrationError

__all__ = ["ActivityInfo", "Cancelled", "NotInActivityError", "heartbeat", "in_activity", "info"]


class NotInActivityError(OrchestrationError):
    """The code does not run as an activity of a workflow."""


class Cancelled(ApplicationError):  # noqa: N818 - a cancellation is no error of the body
    """The attempt is not wanted any more; raised by :func:`heartbeat`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityInfo:
    """The attempt that is running.

    Attributes:
        workflow_id: The caller's workflow id.
        run_id: The run of it.
        workflow_type: Entry id of the workflow.
        target: Entry id that was called.
        seq: Number of the call in the run.
        attempt: Counted from 1.
        idempotency_key: The same for all attempts of this call and for no other: hand it to payment providers and
            unique columns, since an attempt whose worker died may have done its work.
        context: Context values of the call.
        heartbeat_details: What the last heartbeat of an earlier attempt left; None for nothing.
    """

    workflow_id: str
    run_id: str
    workflow_type: str
    target: str
    seq: int
    attempt: int
    idempotency_key: str
    context: dict[str, Any]
    heartbeat_details: Any = None


@dataclass(frozen=True, slots=True)
class Running:
    """The attempt and how to say that it lives; set by the worker around the body."""

    info: ActivityInfo
    beat: Callable[[Any], str]


_running: ContextVar[Running | None] = ContextVar("orchestration_activity", default=None)


def in_activity() -> bool:
    """Whether this code runs as an activity of a workflow."""
    return _running.get() is not None


def info() -> ActivityInfo:
    """The attempt that is running.

    Raises:
        NotInActivityError: This code was not called by a workflow; see :func:`in_activity`.
    """
    running = _running.get()
    if running is None:
        raise NotInActivityError("not inside an activity: the task was not called by a workflow on this worker")
    return running.info


def heartbeat(details: Any = None) -> None:
    """Say that the attempt is alive; needed when its options have a heartbeat timeout.

    Args:
        details: Progress, given to the next attempt as ``info().heartbeat_details``; None leaves it as it is.

    Raises:
        NotInActivityError: This code was not called by a workflow.
        Cancelled: The attempt is not wanted any more: cancelled, timed out, or its run has ended. Let it through.
        EncodeError: The details cannot be carried.
    """
    running = _running.get()
    if running is None:
        raise NotInActivityError("not inside an activity: the task was not called by a workflow on this worker")
    why = running.beat(details)
    if why:
        raise Cancelled(f"this attempt is not wanted any more: {why}", kind="Canceled", retryable=False)
