"""How a schedule goes on. Pure: the time and the runs that have ended come in as arguments.

A schedule is moved in three steps, so that a death between any two of them loses and doubles nothing: :func:`look`
decides what is to be started and the decision is stored; the runs are started, each under a request id of its own;
:func:`settle` notes what came of it, and that is stored. Whoever finds a stored decision carries it out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestration.core.schedule import Due, ScheduleSpec
from orchestration.core.schedule_state import Asked, Backfill, Definition, Ending, Outcome, Running, ScheduleState

__all__ = [
    "BUFFER_MAX",
    "backfill",
    "look",
    "new_state",
    "next_look",
    "pause",
    "resume",
    "settle",
    "trigger",
    "upcoming",
    "update",
]

BUFFER_MAX: Final = 1_000
"""Most actions that wait for the end of a run."""

STARTS_AT_ONCE: Final = 100
"""Most runs that one look starts; the rest follow in the next."""

TIMES_AT_ONCE: Final = 1_000
"""Most times that one look goes through after an outage."""

RECHECK_MS: Final = 10_000
"""How often a schedule looks after the run that it waits for, should nobody have told it of the end."""

CARRY_OUT_MS: Final = 3_000
"""How long whoever has decided may take to carry it out before another does."""

_KEPT_RECENT = 10
_MOST_RUNNING = 1_000


def look(schedule: Definition, state: ScheduleState, *, now_ms: int, ended: Mapping[str, str]) -> None:
    """Decide what is to be done now; the decision is in ``starting`` and ``ending`` of the state.

    Args:
        schedule: What it is about.
        state: Changed in place. Nothing may be decided and not carried out in it.
        now_ms: Redis' time.
        ended: Status of each run in ``running`` that has ended, by run id.
    """
    _forget_ended(schedule, state, now_ms, ended)
    waiting = state.buffer
    if not state.has_more:
        waiting = [*waiting, *_due_times(schedule, state, now_ms)]
    waiting = [*waiting, *_backfilled(schedule, state, STARTS_AT_ONCE - len(waiting))]
    state.buffer, state.has_more, state.decided_ms = [], False, now_ms
    for place, asked in enumerate(waiting):
        if len(state.starting) >= STARTS_AT_ONCE or not _admit(schedule, state, asked):
            state.buffer += waiting[place:]
            state.has_more = True
            break
    if state.backfills and len(state.buffer) < STARTS_AT_ONCE:
        state.has_more = True


def _forget_ended(schedule: Definition, state: ScheduleState, now_ms: int, ended: Mapping[str, str]) -> None:
    for run in state.running:
        status = ended.get(run.run_id)
        if status is None:
            continue
        state.recent = [seen._replace(status=status) if seen.run_id == run.run_id else seen for seen in state.recent]
        if schedule.policy.pause_on_failure and status in ("failed", "timed_out") and not state.paused:
            pause(state, f"paused because run {run.workflow_id} has {status.replace('_', ' ')}", now_ms=now_ms)
    state.running = [run for run in state.running if run.run_id not in ended]


def _due_times(schedule: Definition, state: ScheduleState, now_ms: int) -> list[Asked]:
    """Times of the schedule's own that have come, and count those that came too long ago."""
    if state.paused or state.left == 0:
        return []
    window_ms = schedule.policy.catchup_window.total_seconds() * 1000
    found: list[Asked] = []
    for _ in range(TIMES_AT_ONCE):
        due = schedule.spec.next_due(schedule.id, state.cursor_ms)
        if due is None or due.due_ms > now_ms:
            break
        state.cursor_ms = due.nominal_ms
        if now_ms - due.due_ms > window_ms:
            state.count("missed")
        else:
            found.append(Asked(due.nominal_ms, schedule.policy.overlap))
    return found


def _backfilled(schedule: Definition, state: ScheduleState, room: int) -> list[Asked]:
    """Times of the past that were asked for, as many as there is room for."""
    found: list[Asked] = []
    left: list[Backfill] = []
    for backfill in state.backfills:
        after_ms: int | None = backfill.after_ms
        while after_ms is not None and len(found) < room:
            due = schedule.spec.next_due(schedule.id, after_ms)
            if due is None or due.nominal_ms > backfill.end_ms:
                after_ms = None
            else:
                after_ms = due.nominal_ms
                found.append(Asked(after_ms, backfill.overlap, f"backfill/{backfill.tag}"))
        if after_ms is not None:
            left.append(backfill._replace(after_ms=after_ms))
    state.backfills = left
    return found


def _admit(schedule: Definition, state: ScheduleState, asked: Asked) -> bool:
    """Start an action, let it wait, or leave it out, as its overlap policy says.

    Returns:
        False when it must make runs end that have to begin first: the next look sees to it.
    """
    if asked.origin == "schedule" and state.left == 0:
        return True
    if asked.overlap in ("cancel_other", "terminate_other"):
        return _replace(schedule, state, asked)
    if asked.overlap == "allow_all" or not (state.running or state.starting):
        _start(schedule, state, asked)
    elif asked.overlap == "skip" or (asked.overlap == "buffer_one" and state.buffer):
        state.count("skipped")
    elif len(state.buffer) >= BUFFER_MAX:
        state.count("dropped")
    else:
        state.buffer.append(asked)
    return True


def _replace(schedule: Definition, state: ScheduleState, asked: Asked) -> bool:
    """Have other runs make room for an action; what was decided like it a moment ago has not even begun."""
    if any(other.overlap != asked.overlap for other in state.starting):
        return False
    state.count("skipped", len(state.starting))
    if state.left is not None:
        state.left += sum(other.origin == "schedule" for other in state.starting)
    state.starting = []
    if asked.overlap == "terminate_other" or not state.running:
        state.ending += [Ending(run.namespace, run.workflow_id, run.run_id, "terminate") for run in state.running]
        state.running = []
        _start(schedule, state, asked)
        return True
    state.ending += [
        Ending(run.namespace, run.workflow_id, run.run_id, "cancel") for run in state.running if not run.is_asked
    ]
    state.running = [run._replace(is_asked=True) for run in state.running]
    kept = [other for other in state.buffer if other.overlap != "cancel_other"]
    state.count("skipped", len(state.buffer) - len(kept))
    state.buffer = [*kept, asked]
    return True


def _start(schedule: Definition, state: ScheduleState, asked: Asked) -> None:
    if asked.origin == "schedule" and state.left is not None:
        state.left -= 1
    state.starting.append(asked._replace(workflow_id=schedule.workflow_id(asked.nominal_ms)))


def settle(
    state: ScheduleState, *, now_ms: int, started: Mapping[Asked, Running], refused: Mapping[Asked, tuple[str, str]],
    problem: str = "",
) -> None:  # fmt: skip
    """Note what came of a decision.

    Args:
        state: Changed in place.
        now_ms: Redis' time.
        started: Runs that are there now.
        refused: Actions that are given up: ``refused`` or ``failed``, and why.
        problem: Why the rest, which stays to be tried again, could not be done; empty when there is none.
    """
    for asked in state.starting:
        run = started.get(asked)
        if run is not None:
            state.running.append(run)
            state.count("started")
            _remember(state, asked, now_ms, run.run_id, "started")
        elif asked in refused:
            status, why = refused[asked]
            state.count(status)
            _remember(state, asked, now_ms, "", status, why)
    state.running = state.running[-_MOST_RUNNING:]
    state.starting = [asked for asked in state.starting if asked not in started and asked not in refused]
    if not state.starting and not problem:
        state.ending = []
    state.problem = problem
    state.tries = state.tries + 1 if problem else 0


def _remember(state: ScheduleState, asked: Asked, at_ms: int, run_id: str, status: str, why: str = "") -> None:
    outcome = Outcome(asked.nominal_ms, at_ms, asked.origin.partition("/")[0], asked.workflow_id, run_id, status, why)
    state.recent = [*state.recent, outcome][-_KEPT_RECENT:]


def next_look(schedule: Definition, state: ScheduleState, now_ms: int) -> int | None:
    """When the schedule has to be looked at again; None: not before somebody asks for something."""
    if state.is_decided:
        return now_ms + (min(1000 * 2**state.tries, 60_000) if state.tries else CARRY_OUT_MS)
    if state.has_more or (state.buffer and not state.running):
        return now_ms
    times = []
    if state.waits(schedule.policy):
        times.append(now_ms + (RECHECK_MS if state.buffer else 6 * RECHECK_MS))
    if not state.paused and state.left != 0:
        due = schedule.spec.next_due(schedule.id, state.cursor_ms)
        if due is not None:
            times.append(due.due_ms)
    return min(times, default=None)


def upcoming(schedule: Definition, state: ScheduleState, count: int) -> list[Due]:
    """The next times of a schedule's own; none while it is paused."""
    found: list[Due] = []
    after_ms = state.cursor_ms
    most = count if state.left is None else min(count, state.left)
    while not state.paused and len(found) < most:
        due = schedule.spec.next_due(schedule.id, after_ms)
        if due is None:
            break
        found.append(due)
        after_ms = due.nominal_ms
    return found


# -- what people ask for ----------------------------------------------------------------------------------------------


def new_state(
    spec: ScheduleSpec, *, now_ms: int, queue: str = "", paused: bool = False, note: str = ""
) -> ScheduleState:
    """The state of a schedule that is made now; times before now are not its business."""
    return ScheduleState(
        created_ms=now_ms, updated_ms=now_ms, queue=queue, cursor_ms=now_ms, paused=paused, note=note,
        left=spec.max_actions,
    )  # fmt: skip


def pause(state: ScheduleState, note: str, *, now_ms: int) -> None:
    """Start nothing of its own accord any more. Its actions that wait are given up and counted as skipped."""
    state.paused, state.note = True, note
    state.cursor_ms = max(state.cursor_ms, now_ms)
    kept = [asked for asked in state.buffer if asked.origin != "schedule"]
    state.count("skipped", len(state.buffer) - len(kept))
    state.buffer = kept


def resume(state: ScheduleState, note: str, *, now_ms: int) -> None:
    """Go on with the times that come from now on; those of the pause are not made good."""
    if state.paused:
        state.cursor_ms = max(state.cursor_ms, now_ms)
    state.paused, state.note = False, note


def trigger(schedule: Definition, state: ScheduleState, overlap: str | None, *, now_ms: int) -> int:
    """Take the action once, now; also while paused.

    Returns:
        Its nominal time.
    """
    state.manual_ms = max(now_ms, state.manual_ms + 1)
    state.buffer.append(Asked(state.manual_ms, overlap or schedule.policy.overlap, "trigger"))
    state.has_more = True
    return state.manual_ms


def backfill(state: ScheduleState, start_ms: int, end_ms: int, overlap: str, tag: str) -> None:
    """Take the action for every time of a stretch, both ends included; also while paused."""
    state.backfills.append(Backfill(start_ms - 1, end_ms, overlap, tag))
    state.has_more = True


def update(old: Definition, new: Definition, state: ScheduleState, *, now_ms: int) -> None:
    """Follow a changed definition from now on. Times that have come already are still the old one's."""
    state.updated_ms = now_ms
    if new.spec != old.spec:
        state.buffer += _due_times(old, state, now_ms)
        state.has_more = True
        state.cursor_ms = max(state.cursor_ms, now_ms)
        state.left = new.spec.max_actions
