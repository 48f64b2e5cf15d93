"""The limits of a run, and what is said well before it comes to one of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from orchestration.core.machine import Usage
from orchestration.settings import Settings
from orchestration.tasks.cache import Session

__all__ = ["PENDING_MAX", "exceeded", "near_limits", "warn_near_limits"]

logger = logging.getLogger(__name__)

PENDING_MAX = 10_000
"""Most commands of a run that wait at once; ``prelude/scheduler.lua`` refuses more. Not a setting: replay needs it."""

_NEAR = 0.8


def _shares(settings: Settings, usage: Usage, unread: int = 0) -> Iterator[tuple[str, int, int]]:
    yield "events in the history", usage.events, settings.history_limit
    yield "bytes in the history", usage.bytes, settings.history_bytes
    yield "commands pending", usage.pending, PENDING_MAX
    yield "inputs unread", unread, settings.inbox_limit


def near_limits(settings: Settings, usage: Usage, unread: int = 0) -> tuple[str, ...]:
    """What of a run is at four fifths of its limit or above, for people."""
    return tuple(
        f"{count:,} {what}, the limit is {limit:,}"
        for what, count, limit in _shares(settings, usage, unread)
        if count >= _NEAR * limit
    )


def exceeded(settings: Settings, usage: Usage) -> str:
    """Which limit a step would leave, for people; empty for none."""
    if usage.events > settings.history_limit:
        return f"the history would have more than {settings.history_limit} events"
    if usage.bytes > settings.history_bytes:
        return f"the history would have more than {settings.history_bytes} bytes"
    return ""


def warn_near_limits(settings: Settings, session: Session) -> None:
    """Log what a step has brought near to its limit: once, unless it goes back and comes again."""
    before, session.usage = session.usage, session.machine.usage()
    now = _shares(settings, session.usage)
    for (what, old, limit), (_, new, _) in zip(_shares(settings, before), now, strict=True):
        if old < _NEAR * limit <= new:
            logger.warning(
                "run near a limit: %s %s, the limit is %s", new, what, limit,
                extra={"run_id": session.run_id, "workflow_id": session.workflow_id},
            )  # fmt: skip
