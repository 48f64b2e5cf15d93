"""Waits for the end of a run, and says on stderr why that may take for ever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from orchestration.cli.output import note

if TYPE_CHECKING:
    from orchestration.cli.application import Application
    from orchestration.client import WorkflowHandle

__all__ = ["wait_for_result"]

_UNTOLD_S: Final = 5.0


def wait_for_result(
    application: Application, handle: WorkflowHandle, *, timeout_s: float | None, is_quiet: bool
) -> Any:
    """Wait for the end of a run and return its result; after some seconds say, once, what keeps it from moving.

    Args:
        application: The application, for advice.
        handle: The run.
        timeout_s: Longest wait; None for ever.
        is_quiet: Say nothing.

    Raises:
        WorkflowFailedError: It ended with an error.
        TimeoutError: It did not end in time.
    """
    if is_quiet or (timeout_s is not None and timeout_s <= _UNTOLD_S):
        return handle.result(timeout=timeout_s)
    began = time.monotonic()
    try:
        return handle.result(timeout=_UNTOLD_S)
    except TimeoutError:
        obstacle = _obstacle(application, handle)
    if obstacle:
        note(f"note: {obstacle}")
    try:
        return handle.result(timeout=None if timeout_s is None else max(0.0, timeout_s - time.monotonic() + began))
    except TimeoutError as error:
        raise TimeoutError(f"workflow {handle.id!r} has not ended within {timeout_s:g} s") from error


def _obstacle(application: Application, handle: WorkflowHandle) -> str:
    seen = handle.describe()
    if seen.status == "parked":
        return (
            f"workflow {handle.id!r} is parked, {seen.parked}; mend the cause, then "
            f"`{application.advice(f'retry {handle.id}')}`"
        )
    if seen.status == "paused":
        return f"workflow {handle.id!r} is paused; `{application.advice(f'resume {handle.id}')}` lets it go on"
    if not application.orchestration.runtime.store(handle.namespace).workers.is_swept():
        return (
            f"no worker is up for namespace {handle.namespace!r}: workflow {handle.id!r} goes on once one is started; "
            f"`{application.advice('doctor')}` says what is missing"
        )
    return ""
