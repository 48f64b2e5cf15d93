"""Check of the clocks: Redis' clock decides everything, a host's only when an ETA task is due."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from orchestration.health.facts import Facts
from orchestration.health.findings import Note, Severity

__all__ = ["skew"]

_NOTICED_MS: Final = 1_000.0
_TOO_MUCH_MS: Final = 5_000.0
_CURE: Final = "let every host keep its clock with NTP or chrony"


def skew(facts: Facts) -> Iterator[Note]:
    """How far hosts are from Redis' clock."""
    asked = time.time() * 1000
    there = facts.runtime.redis_now_ms()
    heard = time.time() * 1000
    mine, doubt = (asked + heard) / 2 - there, (heard - asked) / 2
    yield _note("this host", mine, doubt)
    for name, worker in facts.workers.items():
        if worker.skew_ms is not None:
            yield _note(name, worker.skew_ms[0] + mine, worker.skew_ms[1] + doubt)


def _note(subject: str, ahead_ms: float, doubt_ms: float) -> Note:
    least = abs(ahead_ms) - doubt_ms
    text = f"{abs(ahead_ms):.0f} ms {'ahead of' if ahead_ms > 0 else 'behind'} Redis (give or take {doubt_ms:.0f} ms)"
    if least < _NOTICED_MS:
        return Note(Severity.OK, subject, text)
    what = "countdowns and ETAs of tasks are off by as much; timers of workflows that are handed to Celery come late"
    return Note(Severity.WARNING if least > _TOO_MUCH_MS else Severity.NOTICE, subject, f"{text}: {what}", _CURE)
