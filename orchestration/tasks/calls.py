"""Calls of functions that are tried again in place, as their options say."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded, TaskPredicate

from orchestration.core.call_options import call_retry
from orchestration.core.failures import failure_of
from orchestration.errors import ApplicationError

__all__ = ["with_retries"]


def with_retries(
    call: Callable[[], Any], options: Mapping[str, Any], *, stop: threading.Event | None = None,
    deadline: float | None = None,
) -> Any:  # fmt: skip
    """Call, and call again after a failure, as the option ``retry`` says.

    Args:
        call: Performs one try.
        options: Of the call: those of the entry under those of the caller.
        stop: Set when nobody wants the result any more.
        deadline: Of ``time.monotonic``, after which nobody waits.

    Returns:
        What the first try that goes well returns.

    Raises:
        ApplicationError: The options are wrong.
        Exception: What the last try raised.
    """
    try:
        policy = call_retry(options)
    except ValueError as error:
        raise ApplicationError(f"invalid options: {error}", kind="Invalid", retryable=False) from error
    if policy is None:
        return call()
    attempt = 0
    while True:
        attempt += 1
        try:
            return call()
        except (TaskPredicate, SoftTimeLimitExceeded):  # meant for Celery, or the last word of a time limit
            raise
        except Exception as error:
            delay_ms = policy.delay_ms(failure_of(error), attempt=attempt, chance=random.random())
            if delay_ms is None or (deadline is not None and time.monotonic() + delay_ms / 1000 >= deadline):
                raise
        if stop is None:
            time.sleep(delay_ms / 1000)
        elif stop.wait(delay_ms / 1000):
            raise ApplicationError("canceled", kind="Canceled", retryable=False)
