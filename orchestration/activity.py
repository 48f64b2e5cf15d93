"""What the body of an activity can ask and say: ``info()``, ``heartbeat()``, ``is_cancelled()``, ``complete_later()``.

Works inside any Celery task (or function) that a workflow called on a worker with the extension; elsewhere
:func:`info` says that there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn

from celery.exceptions import Ignore

from orchestration.errors import ApplicationError, OrchestrationError

__all__ = [
    "ActivityInfo",
    "Cancelled",
    "CompleteLater",
    "NotInActivityError",
    "complete_later",
    "heartbeat",
    "in_activity",
    "info",
    "is_cancelled",
    "raise_if_cancelled",
    "token",
]

_LOOK_EVERY_S = 0.5


class NotInActivityError(OrchestrationError):
    """The code does not run as an activity of a workflow."""


class Cancelled(ApplicationError):  # noqa: N818 - a cancellation is no error of the body
    """The attempt is not wanted any more; raised by :func:`heartbeat` and :func:`raise_if_cancelled`."""


class CompleteLater(Ignore):  # type: ignore[misc]
    """Ends a body without an outcome; raised by :func:`complete_later`. Celery leaves such a task alone."""


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
        actor: In whose name the workflow runs, ``{"id": ..., "meta": {...}}``; None: nobody's.
        scope: Ids of the policies in force; None: no scope.
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
    actor: Mapping[str, Any] | None = None
    scope: tuple[str, ...] | None = None


@dataclass(slots=True)
class Running:
    """The attempt, and what its body can have done; set by the worker around the body.

    Attributes:
        info: Of the attempt.
        beat: Says that it lives, with progress; answers as :attr:`look`.
        look: Asks the store why the attempt is not wanted any more; empty while it is.
        token: Makes the token of the attempt.
    """

    info: ActivityInfo
    beat: Callable[[Any], str]
    look: Callable[[], str]
    token: Callable[[], str]
    why: str = ""
    looked_s: float = 0.0


_running: ContextVar[Running | None] = ContextVar("orchestration_activity", default=None)


def _current() -> Running:
    running = _running.get()
    if running is None:
        raise NotInActivityError("not inside an activity: the task was not called by a workflow on this worker")
    return running


def in_activity() -> bool:
    """Whether this code runs as an activity of a workflow."""
    return _running.get() is not None


def info() -> ActivityInfo:
    """The attempt that is running.

    Raises:
        NotInActivityError: This code was not called by a workflow; see :func:`in_activity`.
    """
    return _current().info


def heartbeat(details: Any = None) -> None:
    """Say that the attempt is alive; needed when its options have a heartbeat timeout.

    Args:
        details: Progress, given to the next attempt as ``info().heartbeat_details``; None leaves it as it is.

    Raises:
        NotInActivityError: This code was not called by a workflow.
        Cancelled: The attempt is not wanted any more: cancelled, timed out, or its run has ended. Clean up, then let it
            through: a workflow that waits for the cancellation is told by it.
        EncodeError: The details cannot be carried.
    """
    running = _current()
    running.why = running.beat(details)
    running.looked_s = time.monotonic()
    raise_if_cancelled()


def is_cancelled() -> bool:
    """Whether the attempt is not wanted any more. Cheap: the store is asked twice a second at most.

    Raises:
        NotInActivityError: This code was not called by a workflow.
    """
    running, now = _current(), time.monotonic()
    if not running.why and now - running.looked_s >= _LOOK_EVERY_S:
        running.looked_s = now
        running.why = running.look()
    return bool(running.why)


def raise_if_cancelled() -> None:
    """End the body here if the attempt is not wanted any more.

    Raises:
        NotInActivityError: This code was not called by a workflow.
        Cancelled: See :func:`heartbeat`.
    """
    if is_cancelled():
        why = _current().why
        text = "operation canceled" if why == "cancelled" else f"this attempt is not wanted any more: {why}"
        raise Cancelled(text, kind="Canceled", retryable=False)


def token() -> str:
    """Name of this attempt, for somebody else to complete it: ``client.complete_activity(token, result)``.

    Keep it before :func:`complete_later` is called. It is good as long as the attempt is open.

    Raises:
        NotInActivityError: This code was not called by a workflow.
        Cancelled: A local activity, and the step that called it could not be written.
    """
    return _current().token()


def complete_later() -> NoReturn:
    """End the body without an outcome: somebody who has the :func:`token` completes the activity, or its time runs out.

    No worker is needed until then, and none that dies fails it. Start-to-close and heartbeat timeouts go on.

    Raises:
        CompleteLater: Always; let it through.
        NotInActivityError: This code was not called by a workflow.
    """
    _current()
    raise CompleteLater("somebody else completes this activity")
