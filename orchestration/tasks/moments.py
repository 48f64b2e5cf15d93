"""Times as Celery's messages and exceptions have them, and pauses between tries."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from celery.utils.time import maybe_make_aware

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["growing_pause_s", "ms_until"]


def ms_until(moment: Any, app: Celery) -> int:
    """Time until an ETA or an expiry, in milliseconds; 0 when it has passed, or there is none.

    Args:
        moment: Seconds from now, a datetime, its ISO 8601 text, or nothing. Without a timezone it is in UTC.
        app: Whose clock is asked.

    Source: ``celery.worker.request.Request`` takes times without a timezone for UTC, whatever ``timezone`` says.
    """
    if not moment:
        return 0
    if isinstance(moment, (int, float)):
        return max(int(moment * 1000), 0)
    when = maybe_make_aware(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)
    delay: timedelta = when - app.now()
    return max(delay // timedelta(milliseconds=1), 0)


def growing_pause_s(first_s: float, tries: int, *, longest_s: float) -> float:
    """Pause before the next try, in seconds: it doubles with each, however many there have been."""
    return min(first_s * 2.0 ** min(tries, 30), longest_s)
