"""Schedules from Python: made, found, watched, changed. Everything is written to the store; workers act on it."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from orchestration.client.identity import identity_of
from orchestration.core import payload, schedule_moves
from orchestration.core.checks import check_kind, check_text
from orchestration.core.schedule import ScheduleAction, SchedulePolicy, ScheduleSpec, check_overlap, check_prefix, pack
from orchestration.core.schedule_state import Definition, ScheduleState
from orchestration.errors import ScheduleAlreadyExistsError, ScheduleError, ScheduleNotFoundError, StoreError
from orchestration.store.indexing import check_search
from orchestration.store.keys import check_workflow_id
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.schedules import Loaded, ended_runs, load_schedule, save_schedule
from orchestration.tasks.starts import find_workflow, workflow_queue

__all__ = [
    "ScheduleDescription",
    "ScheduleHandle",
    "ScheduledRun",
    "ScheduledTime",
    "create_schedule",
    "list_schedules",
]

_TRIES = 50
_NEXT_TIMES = 10
_MILLISECOND = dt.timedelta(milliseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledTime:
    """A time to come, in milliseconds since the epoch.

    Attributes:
        nominal_ms: What the rules say.
        due_ms: When it is acted on: later by the jitter.
    """

    nominal_ms: int
    due_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """What became of one action.

    Attributes:
        nominal_ms: Its time.
        at_ms: When it was taken.
        origin: ``schedule``, ``trigger`` or ``backfill``.
        workflow_id: Of the run.
        run_id: Of the run; empty when none was started.
        status: ``started``, or how the run has ended; ``refused`` when a run of that workflow id was open; ``failed``
            when it could not be started.
        problem: Why not.
    """

    nominal_ms: int
    at_ms: int
    origin: str
    workflow_id: str
    run_id: str
    status: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDescription:
    """What a schedule is and where it stands.

    Attributes:
        id: Its id.
        namespace: It is kept in.
        spec: When it is due.
        action: What it starts.
        policy: What it does when runs meet, and so on.
        paused: It starts nothing of its own accord.
        note: Why, in the words of whoever paused or resumed it.
        created_ms: When it was made.
        updated_ms: When its definition was last changed.
        next_times: The next ten times; none while it is paused.
        remaining: Starts that remain of ``max_actions``; None without a limit.
        running: Runs that are open.
        recent: The last ten actions, the latest first.
        buffered: Actions that wait for the end of a run.
        starting: Actions that have been decided and are not known to be started yet.
        backfilling: Stretches of the past that are still being made good.
        problem: Why the last attempt to start something failed; it is tried again.
        counters: ``started``; ``skipped`` (as the overlap policy says, or by a pause); ``missed`` (older than the
            catch-up window); ``dropped`` (too many waited); ``refused`` and ``failed`` (could not be started).
    """

    id: str
    namespace: str
    spec: ScheduleSpec
    action: ScheduleAction
    policy: SchedulePolicy
    paused: bool
    note: str
    created_ms: int
    updated_ms: int
    next_times: tuple[ScheduledTime, ...]
    remaining: int | None
    running: tuple[ScheduledRun, ...]
    recent: tuple[ScheduledRun, ...]
    buffered: int
    starting: int
    backfilling: int
    problem: str
    counters: dict[str, int]


class ScheduleHandle:
    """One schedule; whether it exists is seen at the first call.

    Args:
        runtime: Of this process.
        namespace: It is kept in.
        schedule_id: Its id.
    """

    def __init__(self, runtime: Runtime, namespace: str, schedule_id: str) -> None:
        self._runtime = runtime
        self._namespace = namespace
        self.id = schedule_id

    def __repr__(self) -> str:
        return f"<ScheduleHandle {self.id!r}>"

    def describe(self) -> ScheduleDescription:
        """What it is and where it stands; read from the store, no worker needed.

        Raises:
            ScheduleNotFoundError: There is no such schedule.
        """
        return _describe(self._runtime, self._namespace, [self._read()])[0]

    def pause(self, note: str = "") -> None:
        """Start nothing of its own accord any more; actions that wait for a run to end are given up and counted.

        Args:
            note: Why, for people.

        Raises:
            ScheduleNotFoundError: There is no such schedule.
        """
        check_text("a note", note)
        self._change(lambda loaded, now_ms: schedule_moves.pause(loaded.state, note, now_ms=now_ms))

    def resume(self, note: str = "") -> None:
        """Go on with the times that come from now on; those of the pause are left out (``backfill`` takes them).

        Args:
            note: Why, for people.

        Raises:
            ScheduleNotFoundError: There is no such schedule.
        """
        check_text("a note", note)
        self._change(lambda loaded, now_ms: schedule_moves.resume(loaded.state, note, now_ms=now_ms))

    def trigger(self, overlap: str | None = None) -> None:
        """Take the action once, as soon as a worker looks; also while it is paused.

        Args:
            overlap: Policy for this once; None: the schedule's own.

        Raises:
            ScheduleNotFoundError: There is no such schedule.
            ValueError: The policy is none.
        """
        if overlap is not None:
            check_overlap(overlap)
        self._change(
            lambda loaded, now_ms: schedule_moves.trigger(loaded.schedule, loaded.state, overlap, now_ms=now_ms)
        )

    def backfill(self, start: dt.datetime, end: dt.datetime, overlap: str = "buffer_all") -> None:
        """Take the action for every time from ``start`` to ``end``, both included; also while it is paused.

        Args:
            start: With a time zone.
            end: With a time zone; not in the future.
            overlap: Policy for these times; unless another is given they run one after the other.

        Raises:
            ScheduleNotFoundError: There is no such schedule.
            ValueError: The policy is none, or the times cannot be right.
        """
        check_overlap(overlap)
        for name, moment in (("start", start), ("end", end)):
            check_kind(f"`{name}`", moment, dt.datetime, "a datetime")
            if moment.tzinfo is None:
                raise ValueError(f"`{name}` needs a time zone, as in datetime(..., tzinfo=UTC): {moment}")
        if end < start:
            raise ValueError(f"the end {end.isoformat()} is before the start {start.isoformat()}")
        first, last = ((moment - _EPOCH) // _MILLISECOND for moment in (start, end))
        tag = os.urandom(6).hex()

        def add(loaded: Loaded, now_ms: int) -> None:
            if last > now_ms:
                raise ValueError(f"the end {end.isoformat()} has not come yet; a backfill is about the past")
            schedule_moves.backfill(loaded.state, first, last, overlap, tag)

        self._change(add)

    def update(
        self, *, spec: ScheduleSpec | None = None, action: ScheduleAction | None = None,
        policy: SchedulePolicy | None = None,
    ) -> None:  # fmt: skip
        """Change what it is, from now on; what is left out stays. ``max_actions`` of a new spec counts from zero.

        Args:
            spec: When it is due.
            action: What it starts.
            policy: What it does when runs meet, and so on.

        Raises:
            ScheduleNotFoundError: There is no such schedule.
            EntryNotFoundError: No workflow has the type of the new action.
            ValueError: The new action's workflow is kept in another namespace.
        """
        _check_parts(spec, action, policy)
        queue: str | None = None
        if action is not None:
            namespace, queue = _home(self._runtime, self._namespace, self.id, action)
            if namespace != self._namespace:
                raise ValueError(
                    f"workflow {action.workflow_type} lives in namespace {namespace}, schedule {self.id} in "
                    f"{self._namespace}: delete it and make another"
                )
        for _ in range(_TRIES):
            loaded, now_ms = self._read(), self._runtime.redis_now_ms()
            old = loaded.schedule
            new = Definition(self.id, spec or old.spec, action or old.action, policy or old.policy)
            schedule_moves.update(old, new, loaded.state, now_ms=now_ms)
            loaded.state.queue = queue if queue is not None else loaded.state.queue
            if self._save(replace(loaded, schedule=new), now_ms, pack(new.spec, new.action, new.policy)):
                return
        raise _busy(self.id)

    def delete(self) -> None:
        """Forget the schedule. Runs that it has started are left alone; actions that wait are given up.

        Raises:
            ScheduleNotFoundError: There is no such schedule.
        """
        self._read()
        self._runtime.store(self._namespace).schedules.delete(self.id)

    def _read(self) -> Loaded:
        found = self._runtime.store(self._namespace).schedules.read([self.id])
        if not found:
            raise ScheduleNotFoundError(self.id)
        return load_schedule(self._namespace, found[0])

    def _change(self, change: Callable[[Loaded, int], object]) -> None:
        for _ in range(_TRIES):
            loaded, now_ms = self._read(), self._runtime.redis_now_ms()
            change(loaded, now_ms)
            if self._save(loaded, now_ms):
                return
        raise _busy(self.id)

    def _save(self, loaded: Loaded, now_ms: int, definition: bytes = b"") -> bool:
        store = self._runtime.store(self._namespace)
        status = save_schedule(store, loaded, now_ms=now_ms, definition=definition)
        if status == "missing":
            raise ScheduleNotFoundError(self.id)
        return status == "saved"


def create_schedule(
    runtime: Runtime, namespace: str, schedule_id: str, *, spec: ScheduleSpec, action: ScheduleAction,
    policy: SchedulePolicy | None, paused: bool, note: str,
) -> ScheduleHandle:  # fmt: skip
    """Make a schedule; see :meth:`orchestration.Client.create_schedule`."""
    check_schedule_id(schedule_id)
    check_text("a note", note)
    check_kind("`spec`", spec, ScheduleSpec, "a ScheduleSpec")
    check_kind("`action`", action, ScheduleAction, "a ScheduleAction")
    _check_parts(spec, action, policy)
    namespace, queue = _home(runtime, namespace, schedule_id, action)
    store, now_ms = runtime.store(namespace), runtime.redis_now_ms()
    schedule = Definition(schedule_id, spec, action, policy or SchedulePolicy())
    state = schedule_moves.new_state(spec, now_ms=now_ms, queue=queue, paused=paused, note=note)
    made = Loaded(namespace, schedule, state, 0)
    if save_schedule(store, made, now_ms=now_ms, definition=pack(spec, action, schedule.policy)) == "exists":
        raise ScheduleAlreadyExistsError(schedule_id)
    return ScheduleHandle(runtime, namespace, schedule_id)


def list_schedules(
    runtime: Runtime, namespace: str, *, prefix: str, after: str, limit: int
) -> list[ScheduleDescription]:
    """A page of schedules; see :meth:`orchestration.Client.list_schedules`."""
    check_text("`prefix`", prefix)
    check_text("`after`", after)
    check_kind("`limit`", limit, int, "a whole number")
    if limit < 1:
        raise ValueError(f"a limit is at least 1, not {limit}")
    schedules = runtime.store(namespace).schedules
    ids = schedules.listing(prefix=prefix, after=after, limit=limit)
    return _describe(runtime, namespace, [load_schedule(namespace, stored) for stored in schedules.read(ids)])


def _check_parts(spec: ScheduleSpec | None, action: ScheduleAction | None, policy: SchedulePolicy | None) -> None:
    for name, part, kind in (
        ("spec", spec, ScheduleSpec), ("action", action, ScheduleAction), ("policy", policy, SchedulePolicy),
    ):  # fmt: skip
        if part is not None:
            check_kind(f"`{name}`", part, kind, f"a {kind.__name__}")


def check_schedule_id(schedule_id: str) -> str:
    """Refuse what cannot be a schedule's id.

    Raises:
        ValueError: Empty, longer than 255 bytes in UTF-8, or with a control character.
    """
    check_text("a schedule id", schedule_id)
    try:
        return check_workflow_id(schedule_id)
    except ValueError as error:
        raise ValueError(str(error).replace("a workflow id", "a schedule id", 1)) from None


def _home(runtime: Runtime, namespace: str, schedule_id: str, action: ScheduleAction) -> tuple[str, str]:
    """Refuse an action that could never start; give namespace and queue of its runs."""
    try:
        check_prefix(action.workflow_id_prefix or schedule_id)
    except ValueError as error:
        raise ValueError(f"{error}; give `workflow_id_prefix`, or a shorter id") from None
    payload.encode(list(action.args), limit=runtime.settings.payload_bytes)
    identity_of(runtime.registry.policies, action.actor, action.scope)  # raises what is wrong with it
    check_search(action.search)
    registry = runtime.registry
    is_known = action.workflow_type in registry or registry.workflow_type(action.workflow_type) is not None
    if action.task_queue is not None and not is_known:
        return namespace, action.task_queue  # the workers of the queue know it
    entry = find_workflow(runtime, action.workflow_type)
    queue = action.task_queue if action.task_queue is not None else workflow_queue(runtime, entry.id)
    return runtime.namespace_of(entry.id), queue


def _busy(schedule_id: str) -> ScheduleError | StoreError:
    return StoreError(f"schedule {schedule_id!r} is changed all the time by others: try again")


def _describe(runtime: Runtime, namespace: str, found: Sequence[Loaded]) -> list[ScheduleDescription]:
    ended = ended_runs(runtime, [run for loaded in found for run in loaded.state.running])
    return [_description(namespace, loaded.schedule, loaded.state, ended) for loaded in found]


def _description(
    namespace: str, schedule: Definition, state: ScheduleState, ended: dict[str, str]
) -> ScheduleDescription:
    recent = [
        ScheduledRun(**{**outcome._asdict(), "status": ended.get(outcome.run_id, outcome.status)})
        for outcome in reversed(state.recent)
    ]
    known = {run.run_id: run for run in recent if run.run_id}
    running = tuple(
        known.get(run.run_id)
        or ScheduledRun(
            nominal_ms=run.nominal_ms, at_ms=0, origin="", workflow_id=run.workflow_id, run_id=run.run_id,
            status="started",
        )
        for run in state.running
        if run.run_id not in ended
    )  # fmt: skip
    return ScheduleDescription(
        id=schedule.id, namespace=namespace, spec=schedule.spec, action=schedule.action, policy=schedule.policy,
        paused=state.paused, note=state.note, created_ms=state.created_ms, updated_ms=state.updated_ms,
        next_times=tuple(
            ScheduledTime(nominal_ms=due.nominal_ms, due_ms=due.due_ms)
            for due in schedule_moves.upcoming(schedule, state, _NEXT_TIMES)
        ),
        remaining=state.left, running=running, recent=tuple(recent), buffered=len(state.buffer),
        starting=len(state.starting), backfilling=len(state.backfills), problem=state.problem,
        counters=dict(state.counts),
    )  # fmt: skip
