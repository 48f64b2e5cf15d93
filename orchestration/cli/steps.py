"""The steps of a run, with what its store knows of those that are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestration.core.timeline import Timeline, read_timeline

if TYPE_CHECKING:
    from orchestration.client import Description, WorkflowHandle

__all__ = ["read_steps"]


def read_steps(handle: WorkflowHandle) -> tuple[Description, Timeline]:
    """Where a run stands, and what it did."""
    seen = handle.describe()
    timeline = read_timeline(handle.raw_history())
    pending = {activity.seq: activity for activity in seen.pending}
    for lane in timeline.lanes:
        activity = pending.get(lane.seq)
        if activity is None or lane.kind != "activity" or lane.end_ms is not None:
            continue
        failure = activity.last_failure or {}
        lane.attempts, lane.state = activity.attempt, activity.state
        lane.error = ": ".join(str(failure[name]) for name in ("kind", "message") if failure.get(name))
    return seen, timeline
