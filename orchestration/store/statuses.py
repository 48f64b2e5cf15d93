"""The statuses of a run, in the two groups that they fall into."""

from __future__ import annotations

from typing import Final

__all__ = ["CLOSED_STATUSES", "OPEN_STATUSES", "STATUSES"]

OPEN_STATUSES: Final = ("running", "parked", "paused")
"""Of runs that take inputs; parked and paused ones keep them for later."""

CLOSED_STATUSES: Final = ("completed", "failed", "cancelled", "terminated", "timed_out", "continued_as_new")
"""Of runs that have ended."""

STATUSES: Final = (*OPEN_STATUSES, *CLOSED_STATUSES)
