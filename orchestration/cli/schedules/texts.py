"""Schedules as people and programs read them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

from orchestration.cli.output import when

if TYPE_CHECKING:
    from orchestration.client import ScheduleDescription

__all__ = ["facts", "next_text", "rules_text", "state_text"]


def facts(seen: ScheduleDescription) -> dict[str, Any]:
    """A schedule as JSON has it: durations in milliseconds, times in RFC 3339."""
    found = dataclasses.asdict(seen)
    for part in ("spec", "action", "policy"):
        found[part] = dict(_plain(name, value) for name, value in found[part].items())
    return found


def _plain(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, dt.timedelta):
        return f"{name}_ms", value // dt.timedelta(milliseconds=1)
    return name, value.isoformat() if isinstance(value, dt.datetime) else value


def rules_text(seen: ScheduleDescription) -> str:
    """When it is due, on one line."""
    spec = seen.spec
    rules = [*spec.cron]
    if spec.interval is not None:
        rules.append(f"every {spec.interval}" + (f" + {spec.offset}" if spec.offset else ""))
    zone = f" {spec.time_zone}" if spec.cron else ""
    return "; ".join(rules) + zone + (f", jitter {spec.jitter}" if spec.jitter else "")


def state_text(seen: ScheduleDescription) -> str:
    """Whether it goes on, in a word."""
    if seen.paused:
        return "paused"
    return "active" if seen.next_times else "over"


def next_text(seen: ScheduleDescription) -> str:
    """What comes next, as a sentence."""
    if seen.paused:
        return "it is paused"
    if not seen.next_times:
        return "there are no times to come"
    return f"next {when(seen.next_times[0].due_ms)}"
