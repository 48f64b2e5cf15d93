"""Exceptions as failures that Lua code reads, and failures as exceptions that Python code catches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.core import payload
from orchestration.errors import (
    ActivityError,
    ApplicationError,
    EncodeError,
    SandboxError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTerminatedError,
    WorkflowTimedOutError,
)

__all__ = ["application_error", "failure_of", "workflow_error"]


def failure_of(error: BaseException) -> dict[str, Any]:
    """Describe an exception so that Lua code can read it.

    Returns:
        message, kind, and where known retryable and details. An :class:`ApplicationError` keeps all of its facts; any
        other exception is ``Internal``, may be retried (unless Lua code left its limits), and names its class in
        ``details.exception``.
    """
    if isinstance(error, ApplicationError):
        failure: dict[str, Any] = {"message": error.message, "kind": error.kind}
        if error.retryable is not None:
            failure["retryable"] = error.retryable
        if error.details:
            failure["details"] = error.details
    else:
        name = type(error).__qualname__
        text = str(error)
        failure = {
            "message": f"{name}: {text}" if text else name,
            "kind": "Internal",
            "details": {"exception": name},
        }
        if isinstance(error, SandboxError):  # the same code leaves the same limits again
            failure["retryable"] = False
    try:
        payload.encode(failure)
    except EncodeError as problem:
        failure.pop("details", None)
        failure["message"] = f"{str(failure['message'])[:1000]!r} (details left out: {problem})"
        failure["kind"] = str(failure["kind"])
    return failure


def application_error(failure: Mapping[str, Any], cls: type[ApplicationError] = ActivityError) -> ApplicationError:
    """Make the exception of a failure."""
    details = failure.get("details")
    return cls(
        str(failure.get("message", "")),
        str(failure.get("kind", "")),
        failure.get("retryable"),
        details if isinstance(details, Mapping) else None,
    )


def workflow_error(status: str, failure: Mapping[str, Any]) -> WorkflowFailedError:
    """Make the exception that a caller of a run gets.

    Args:
        status: How the run ended: failed, cancelled, terminated or timed_out.
        failure: What it ended with.
    """
    classes: dict[str, type[WorkflowFailedError]] = {
        "cancelled": WorkflowCancelledError,
        "terminated": WorkflowTerminatedError,
        "timed_out": WorkflowTimedOutError,
    }
    error = application_error(failure, classes.get(status, WorkflowFailedError))
    assert isinstance(error, WorkflowFailedError)
    return error
