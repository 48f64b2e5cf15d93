"""Runs that begin with the history of another one: reset takes its place, fork is another workflow.

The history up to an event is copied, replayed, and what is open there is asked for again: activities get new attempts,
timers the time that is left to them. Children and requests to other runs are not repeated: what became of them is told
to the new run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.core import events
from orchestration.core.events import Code
from orchestration.core.machine import Place
from orchestration.core.pid import make_pid, parse_pid
from orchestration.core.prefix import (
    later_signals,
    open_at,
    with_origin,
)
from orchestration.errors import (
    StoreError,
    WorkflowAlreadyStartedError,
    WorkflowClosedError,
)
from orchestration.store.inputs import stamp, unstamp
from orchestration.store.keys import check_workflow_id
from orchestration.store.results import Copy, Following, Lease
from orchestration.store.statuses import OPEN_STATUSES
from orchestration.store.store import Store
from orchestration.tasks.cache import Session
from orchestration.tasks.chain_options import ChainOptions
from orchestration.tasks.drafts import (
    Draft,
    answer_fork,
    ask_again,
    pid_of,
    read_draft,
    session_of,
    take_over,
    update_ops,
)
from orchestration.tasks.effects import Effects
from orchestration.tasks.endings import trace_outside_end
from orchestration.tasks.outbox import Outbox
from orchestration.tasks.runtime import Runtime
from orchestration.telemetry.announcer import RunFacts
from orchestration.types import RunId

__all__ = ["Preview", "fork_run", "preview_copy", "reset_run"]

_MOST_TRIES = 40
_PAUSE_S = 0.05
_CARRIED = frozenset((Code.SIGNAL, Code.CANCEL_REQUESTED, Code.UPDATE))
"""Unread inputs that are meant for the workflow: signals, cancel requests, updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Where a copy of a run would begin.

    Attributes:
        run_id: The run whose history is copied.
        event: Number of the last input that is kept.
        kept: Number of events that are kept.
        dropped: Number of events that are not.
        open: What would be open, in words.
        commands: What the code would ask for when it is given the edited result, in words.
        places: Where each coroutine would stand.
        closed: The edited result would end the run.
    """

    run_id: str
    event: int
    kept: int
    dropped: int
    open: tuple[str, ...]
    commands: tuple[str, ...]
    places: tuple[Place, ...]
    closed: bool


def preview_copy(
    runtime: Runtime, namespace: str, run_id: RunId, where: int | str, *, edit: tuple[int, Any] | None = None,
    new_code: bool = False,
) -> Preview:  # fmt: skip
    """Replay the beginning of a history on a machine that is thrown away; nothing is written.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        run_id: The run.
        where: Number of an input, or a name, see :func:`orchestration.core.prefix.cut_at`.
        edit: Number of a recorded activity, and the result to give it instead.
        new_code: On the code that is here, not on the run's.

    Raises:
        ValueError: There is no such place or result.
        NondeterminismError: The code does not fit the history up to there.
        WorkflowNotFoundError: No such run.
    """
    draft = read_draft(runtime, runtime.store(namespace), run_id, where, edit=edit, new_code=new_code)
    commands: list[bytes] = []
    still_open = open_at(draft.prefix)
    try:
        if draft.edited:
            event = stamp(draft.edited, runtime.redis_now_ms())
            with runtime.in_lua():
                commands = draft.machine.apply(event)
            still_open = open_at([*draft.prefix, event, *commands])
        return Preview(
            run_id=run_id, event=draft.cut.number, kept=draft.cut.length, dropped=len(draft.history) - draft.cut.length,
            open=tuple(events.describe(item.command) for item in still_open.values()),
            commands=tuple(map(events.describe, commands)), places=tuple(draft.machine.places()),
            closed=draft.machine.closed,
        )  # fmt: skip
    finally:
        draft.machine.close()


def reset_run(
    runtime: Runtime, namespace: str, run_id: RunId, where: int | str, *, reason: str = "", signals: bool = True,
    new_code: bool = False,
) -> RunId:  # fmt: skip
    """Let a new run take the place of one, from an event of its history on; the old one ends if it is open.

    Args:
        runtime: Of this process; its definitions have the activities.
        namespace: Of the run.
        run_id: The latest run of its workflow.
        where: Number of an input, or a name, see :func:`orchestration.core.prefix.cut_at`.
        reason: Kept in the history of the old run.
        signals: What came later goes to the new run: the signals, and what is not read yet.
        new_code: The new run is on the code that is here, if that fits.

    Returns:
        The new run.

    Raises:
        ValueError: There is no such place, or something is open there that is not defined here.
        NondeterminismError: The code does not fit the history up to there.
        WorkflowClosedError: Another run has taken its place.
        WorkflowNotFoundError: No such run.
        StoreError: The run moves on faster than it can be copied; nothing was written.
    """
    store = runtime.store(namespace)
    new_id = store.runs.new_id(store.runs.record(run_id).fields["id"])
    for turn in range(_MOST_TRIES):
        draft = read_draft(runtime, store, run_id, where, new_code=new_code)
        try:
            trace = draft.record.fields.get("trace", "")
            if runtime.telemetry is not None:
                trace = runtime.telemetry.origin_after(run_id, trace)
            session = session_of(namespace, draft, new_id, draft.record.fields["id"], pid_of(draft), trace=trace)
            take_over(runtime, store, namespace, draft, session)
            later = draft.history[draft.cut.length :]
            if signals:
                draft.inputs += map(unstamp, later_signals(later))
                draft.inputs += [item for item in draft.unread if item[1] in _CARRIED]
            fields: dict[str, str | int] = {"reset_of": f"{run_id}/{draft.cut.number}"}
            if trace:
                fields["trace"] = trace
            if draft.record.status == "completed":  # its Celery task has its result: this one has a task of its own
                fields["task"] = new_id
            started = with_origin(draft.history[0], reset_of={"run": run_id, "event": draft.cut.number})
            told = f"reset to event {draft.cut.number} as run {new_id}" + (f": {reason}" if reason else "")
            copy, send = _copy(runtime, draft, session, started, fields)
            answer = store.repairs.reset(
                draft.record, copy, code=Code.TERMINATED, details=[told, ""], chains=store.chains
            )
            if answer.status == "reset":
                _send(runtime, store, draft, copy, send)
                if draft.record.status in OPEN_STATUSES:
                    trace_outside_end(runtime, namespace, run_id, "terminated")
                    runtime.announcer.continued(RunFacts.of(namespace, draft.record), "terminated")
                return new_id
        finally:
            draft.machine.close()
        if answer.status == "not_latest":
            raise WorkflowClosedError(
                f"run {run_id} cannot be reset: run {answer.detail or 'unknown'} has taken its place; reset that one"
            )
        time.sleep(_PAUSE_S * min(turn, 4))
    raise StoreError(f"run {run_id} moves on faster than it can be copied: pause it first")


def fork_run(
    runtime: Runtime, namespace: str, run_id: RunId, where: int | str, *, workflow_id: str,
    edit: tuple[int, Any] | None = None, new_code: bool = False, force: bool = False,
) -> RunId:  # fmt: skip
    """Make a run of another workflow id that begins with the history of one, which goes on by itself.

    Args:
        runtime: Of this process; its definitions have the activities.
        namespace: Of both.
        run_id: The run whose history is copied.
        where: Number of an input, or a name, see :func:`orchestration.core.prefix.cut_at`.
        workflow_id: Name of the new workflow.
        edit: Number of a recorded activity, and the result to give it instead; what came after it is dropped.
        new_code: The new run is on the code that is here, if that fits.
        force: Also where a child or a request to another run is open: it will not be answered.

    Returns:
        The new run.

    Raises:
        ValueError: There is no such place or result, or something is open there that cannot be asked for again.
        NondeterminismError: The code does not fit the history up to there.
        WorkflowAlreadyStartedError: The new workflow id is taken.
        WorkflowNotFoundError: No such run.
    """
    store = runtime.store(namespace)
    workflow_id = check_workflow_id(workflow_id)
    draft = read_draft(runtime, store, run_id, where, edit=edit, new_code=new_code)
    try:
        new_id = store.runs.new_id(workflow_id)
        old_pid = parse_pid(pid_of(draft))
        pid = make_pid(old_pid.node, old_pid.host, workflow_id) if old_pid else ""
        session = session_of(namespace, draft, new_id, workflow_id, pid)
        answer_fork(draft, force=force)
        own = {"workflow_id": workflow_id, "pid": pid}
        started = with_origin(
            draft.history[0], forked_from={"run": run_id, "event": draft.cut.number, "own": own}
        )
        record = draft.record
        fields: dict[str, str | int] = {
            "type": record.fields["type"], "task": new_id, "forked_from": f"{run_id}/{draft.cut.number}",
        }  # fmt: skip
        fields |= {name: record.fields[name] for name in ("queue",) if name in record.fields}
        if "opts" in record.fields and (kept := _without_schedule(record.fields["opts"])):
            fields["opts"] = kept
        if draft.edited:
            draft.inputs.insert(0, draft.edited)
        copy, send = _copy(runtime, draft, session, started, fields)
        extra = {name: value for name, value in record.extra.items() if name.startswith(("memo:", "search:", "ix:"))}
        answer = store.repairs.fork(workflow_id, copy, [started, *draft.prefix[1:]], extra=extra)
        if answer.status == "exists":
            raise WorkflowAlreadyStartedError(workflow_id, answer.detail)
        _send(runtime, store, draft, copy, send)
        return new_id
    finally:
        draft.machine.close()


def _copy(
    runtime: Runtime, draft: Draft, session: Session, started: bytes, fields: Mapping[str, str | int]
) -> tuple[Copy, list[Any]]:
    """Ask again for what is open, and put the new run together; with the messages that it begins with."""
    lease = Lease(RunId(session.run_id), 1, runtime.redis_now_ms(), draft.cut.length, 1, ())
    effects = Effects(runtime, session, lease)
    ask_again(runtime, effects, draft)
    draft.ops += [*effects.ops, *update_ops(draft), ["extra", "places", draft.machine.packed_places()]]
    draft.outbox += effects.outbox
    resume = runtime.messages.resume(session.namespace, session.run_id, queue=session.queue, about=session.about)
    sends = [*effects.sends, resume]
    moved = draft.moved
    following = Following(
        run_id=RunId(session.run_id), digest=draft.bundle.digest, code=draft.bundle.encode(),
        fields={**fields, **({"moved": moved} if moved else {})}, inputs=draft.inputs,
        run_timeout_ms=session.facts.options.run_timeout_ms, pushes=runtime.messages.pushes(*sends),
    )  # fmt: skip
    return Copy(run=following, started=started, length=draft.cut.length, ops=draft.ops, kept=draft.kept), sends


def _send(runtime: Runtime, store: Store, draft: Draft, copy: Copy, sends: Sequence[Any]) -> None:
    """Publish what could not be part of the script, and do what it has left."""
    sent, entries = False, draft.outbox
    if not copy.run.pushes.commands:
        sent = runtime.messages.publish(*sends)
        if not sent:
            entries = [(name, entry) for name, entry in entries if not name.startswith("a/")]
    if entries:
        Outbox(runtime).perform(store, entries, sent=sent)


def _without_schedule(text: str) -> str:
    options = ChainOptions(text)
    return ChainOptions.encode(
        retry=options.retry, cron="", run_timeout_ms=options.run_timeout_ms, cancel_grace_ms=options.cancel_grace_ms
    )
