"""Whether and when an activity is tried again. Pure: what happened goes in, a delay comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["retry_delay_ms"]

_INITIAL_MS = 1_000
_COEFFICIENT = 2.0
_MAXIMUM_FACTOR = 100
_LONGEST_MS = 100 * 365 * 86_400_000


def retry_delay_ms(
    options: Mapping[str, Any], *, attempt: int, failure: Mapping[str, Any], elapsed_ms: int
) -> int | None:
    """Decide on the next attempt.

    Args:
        options: Of the activity; ``retry`` holds the policy, ``schedule_to_close_timeout_ms`` bounds the whole.
        attempt: The one that failed, counted from 1.
        failure: What it failed with: kind, retryable, details; ``details.retry_after_ms`` asks for a pause of its own,
            which no maximum bounds.
        elapsed_ms: Since the activity was scheduled for the first time.

    Returns:
        Milliseconds to wait, or None when the failure is final.

    Source: policy fields and defaults as in the workflow specification, section on retry policies.
    """
    policy: Mapping[str, Any] = options.get("retry") or {}
    if failure.get("retryable") is False:
        return None
    kinds = policy.get("non_retryable_error_types") or ()
    details = failure.get("details")
    exception = details.get("exception") if isinstance(details, Mapping) else None
    if failure.get("kind") in kinds or (exception is not None and exception in kinds):
        return None
    most = int(policy.get("maximum_attempts") or 0)
    if most and attempt >= most:
        return None
    initial = int(policy.get("initial_interval_ms") or _INITIAL_MS)
    longest = int(policy.get("maximum_interval_ms") or initial * _MAXIMUM_FACTOR)
    try:
        grown = initial * float(policy.get("backoff_coefficient") or _COEFFICIENT) ** (attempt - 1)
    except OverflowError:
        grown = float(longest)
    delay = int(min(grown, longest))
    asked = details.get("retry_after_ms") if isinstance(details, Mapping) else None
    if isinstance(asked, (int, float)) and not isinstance(asked, bool) and 0 <= asked < _LONGEST_MS:
        delay = math.ceil(asked)
    whole = int(options.get("schedule_to_close_timeout_ms") or 0)
    if whole and elapsed_ms + delay >= whole:
        return None
    return delay
