"""Schedules, fired by whichever worker sweeps: no process of their own, no clock but Redis'.

Each schedule is read, moved on by :mod:`orchestration.core.schedule_moves` and written back if nothing else has changed
it meanwhile. What is to be started is stored before it is started, under request ids that start once: a worker that
dies anywhere in between is followed by another that does the rest.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

from orchestration.core import payload, schedule_moves
from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.core.schedule import ScheduleAction, time_text, unpack
from orchestration.core.schedule_state import Asked, Definition, Ending, Running, ScheduleState
from orchestration.errors import (
    PayloadError,
    StoreError,
    StoreUnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowNotFoundError,
)
from orchestration.faults import fault
from orchestration.store.inputs import encode_input
from orchestration.store.keys import ShardKeys
from orchestration.store.results import RunRecord
from orchestration.store.runs import Runs
from orchestration.store.schedules import StoredSchedule
from orchestration.store.store import Store
from orchestration.tasks.outbox import deliver_on, terminate_on
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.starts import StartRequest, start
from orchestration.types import RunId

__all__ = ["Loaded", "ScheduleFirer", "ended_runs", "load_schedule", "save_schedule"]

logger = logging.getLogger(__name__)

_HOLD_MS = 5_000
_TRIES = 5
_LONG_S = 3600.0
_OPEN = ("running", "paused", "parked")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A schedule, read.

    Attributes:
        namespace: It is kept in.
        schedule: What it is.
        state: Where it stands; changed in place and saved.
        version: To be shown when it is saved.
    """

    namespace: str
    schedule: Definition
    state: ScheduleState
    version: int


def load_schedule(namespace: str, stored: StoredSchedule) -> Loaded:
    """Read what is stored.

    Raises:
        CorruptHistoryError: Another release wrote it in a form that this one does not know.
    """
    schedule = Definition(stored.id, *unpack(stored.definition))
    return Loaded(namespace, schedule, ScheduleState.decode(stored.state), stored.version)


def save_schedule(store: Store, loaded: Loaded, *, now_ms: int, definition: bytes = b"") -> str:
    """Write a schedule back with the time of its next look.

    Args:
        store: Where it is kept.
        loaded: The schedule, its state changed; version 0 makes a new one.
        now_ms: Redis' time.
        definition: The encoded definition, if that has changed too.

    Returns:
        As :meth:`orchestration.store.schedules.Schedules.save`.
    """
    schedule, state = loaded.schedule, loaded.state
    look_ms = schedule_moves.next_look(schedule, state, now_ms)
    return store.schedules.save(
        schedule.id, version=loaded.version, commit=os.urandom(12).hex(), definition=definition, state=state.encode(),
        look_ms=look_ms, waits=state.waits(schedule.policy),
    )  # fmt: skip


def ended_runs(runtime: Runtime, running: Sequence[Running]) -> dict[str, str]:
    """Status of each run that has ended, by run id; a run that nobody knows any more counts as ended.

    A run whose place another has taken (continue-as-new, a retry) has ended when the last of them has.
    """
    found: dict[str, str] = {}
    for namespace in sorted({run.namespace for run in running}):
        runs = runtime.store(namespace).runs
        mine = [run for run in running if run.namespace == namespace]
        records = {record.run_id: record for record in runs.records([RunId(run.run_id) for run in mine])}
        for run in mine:
            record = records.get(RunId(run.run_id))
            if record is None or "next" in record.fields:
                record = _latest(runs, run.workflow_id, run.run_id) or record
            status = record.status if record is not None else "unknown"
            if status not in _OPEN:
                found[run.run_id] = status
    return found


def _latest(runs: Runs, workflow_id: str, run_id: str) -> RunRecord | None:
    """The run that stands where a run was the first; None when the workflow id is another's by now, or nobody's."""
    try:
        record = runs.record(runs.current(workflow_id))
    except WorkflowNotFoundError:
        return None
    return record if run_id in (record.run_id, record.fields.get("first")) else None


class ScheduleFirer:
    """Moves the schedules that are due.

    Args:
        runtime: Of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def fire(self, namespace: str, store: Store, shard: ShardKeys) -> float:
        """Move the schedules of a shard that are due now, or some of them: a sweep has other things to do too.

        One that fails is logged and left to a later look; it keeps no other from being moved.

        Args:
            namespace: Of the schedules.
            store: Of the namespace.
            shard: Where to look.

        Returns:
            Seconds until one is due again; 0 when there are more.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        limit = max(self._runtime.settings.sweep_batch // len(store.schedules.shards), 1)
        try:
            due = store.schedules.take(shard, limit=limit, hold_ms=_HOLD_MS)
            found = store.schedules.read(due.ids)
        except StoreUnavailableError:
            raise
        except StoreError:
            logger.exception("schedules left to the next sweep", extra={"shard": shard.tag})
            return _LONG_S
        looks = [due.next_ms] if due.next_ms else []
        for stored in found:
            try:
                loaded = self._move(namespace, store, stored, due.time_ms)
            except StoreUnavailableError:
                raise
            except Exception:
                logger.exception("schedule left to a later sweep", extra={"schedule": stored.id})
                continue
            look_ms = schedule_moves.next_look(loaded.schedule, loaded.state, due.time_ms)
            if look_ms is not None:
                looks.append(look_ms)
        if len(due.ids) >= limit:
            return 0.0
        return max(min(looks) - due.time_ms, 0) / 1000 if looks else _LONG_S

    def _move(self, namespace: str, store: Store, stored: StoredSchedule, now_ms: int) -> Loaded:
        """Decide what is to be done and carry it out; begin again when something else has changed the schedule."""
        for _ in range(_TRIES):
            loaded = load_schedule(namespace, stored)
            status = "saved"
            if not loaded.state.is_decided:
                ended = ended_runs(self._runtime, loaded.state.running)
                schedule_moves.look(loaded.schedule, loaded.state, now_ms=now_ms, ended=ended)
                fault("before_schedule")
                status = save_schedule(store, loaded, now_ms=now_ms)
                fault("after_schedule")
                loaded = replace(loaded, version=loaded.version + 1)
            if status == "saved" and loaded.state.is_decided:
                self._carry_out(loaded, now_ms)
                status = save_schedule(store, loaded, now_ms=now_ms)
            again = store.schedules.read([stored.id]) if status == "changed" else []
            if not again:
                break
            stored = again[0]
        return loaded

    def _carry_out(self, loaded: Loaded, now_ms: int) -> None:
        """End the runs that make room, start those that are decided, note what came of it. May be done again."""
        schedule, state = loaded.schedule, loaded.state
        started: dict[Asked, Running] = {}
        refused: dict[Asked, tuple[str, str]] = {}
        problem = ""
        for ending in state.ending:
            self._end(schedule, ending)
        fault("before_schedule_start")
        for asked in state.starting:
            try:
                started[asked] = self._start(loaded, asked)
            except StoreUnavailableError:
                raise
            except WorkflowAlreadyStartedError as error:
                refused[asked] = ("refused", str(error))
            except (ValueError, PayloadError) as error:
                refused[asked] = ("failed", str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and tried again for a while
                problem = f"{type(error).__name__}: {error}"
                logger.warning("scheduled run not started: %s", error, extra={"schedule": schedule.id})
                if now_ms - state.decided_ms > schedule.policy.catchup_window / timedelta(milliseconds=1):
                    refused[asked] = ("failed", problem)
        if len(started) + len(refused) == len(state.starting):
            problem = ""
        fault("after_schedule_start")
        schedule_moves.settle(state, now_ms=now_ms, started=started, refused=refused, problem=problem)

    def _start(self, loaded: Loaded, asked: Asked) -> Running:
        started = start(self._runtime, self._request(loaded, asked))
        return Running(started.namespace, started.workflow_id, started.run_id, asked.nominal_ms)

    def _end(self, schedule: Definition, ending: Ending) -> None:
        reason = f"schedule {schedule.id} is due again"
        record = _latest(self._runtime.store(ending.namespace).runs, ending.workflow_id, ending.run_id)
        if record is None:
            return  # it has ended long ago
        run_id = record.run_id
        try:
            if ending.how == "terminate":
                terminate_on(self._runtime, ending.namespace, run_id, reason=reason)
            else:
                item = encode_input(Code.CANCEL_REQUESTED, reason, "")
                request_id = f"schedule/{schedule.id}/cancel/{run_id}"
                deliver_on(self._runtime, ending.namespace, run_id, item, request_id=request_id)
        except WorkflowNotFoundError:
            return  # its retention is over

    def _request(self, loaded: Loaded, asked: Asked) -> StartRequest:
        schedule, action, runtime = loaded.schedule, loaded.schedule.action, self._runtime
        # Where the code is unknown, as on an old worker during a deploy, the run is started for those who have it.
        is_known = runtime.registry.workflow_type(action.workflow_type) is not None
        queue = action.task_queue if is_known or action.task_queue is not None else loaded.state.queue
        context = {**action.context, "schedule.id": schedule.id, "schedule.time": time_text(asked.nominal_ms)}
        return StartRequest(
            workflow_type=action.workflow_type, workflow_id=asked.workflow_id,
            args=payload.encode(list(action.args), limit=runtime.settings.payload_bytes),
            request_id=asked.request_id(schedule.id), queue=queue, namespace=loaded.namespace,
            run_timeout_ms=_ms(action.run_timeout), execution_timeout_ms=_ms(action.execution_timeout),
            cancel_grace_ms=_ms(action.cancel_grace), retry=cast("Mapping[str, Any] | None", action.retry_policy),
            search=action.search, memo=action.memo, summary=action.summary, details=action.details, context=context,
            identity=_identity(runtime, action),
            schedule=schedule.id,
        )  # fmt: skip


def _identity(runtime: Runtime, action: ScheduleAction) -> Identity:
    """In whose name its runs are; of a policy that is not here any more the id is kept, and denies."""
    scope = None if action.scope is None else tuple(action.scope)
    if scope is not None:
        with contextlib.suppress(ValueError):
            scope = runtime.registry.policies.ids_of(scope)
    return Identity(None if action.actor is None else action.actor.fields(), scope)


def _ms(span: timedelta | None) -> int:
    return span // timedelta(milliseconds=1) if span else 0
