"""Sends the messages of attempts that are due again: by an ETA task when that is soon, else by the sweep."""

from __future__ import annotations

import msgpack

from orchestration.errors import CorruptHistoryError
from orchestration.store.attempts import AttemptId, AttemptState
from orchestration.store.results import Delivery
from orchestration.store.store import Store
from orchestration.tasks.effects import read_activity
from orchestration.tasks.endings import announce_parked
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["dispatch_attempt", "read_open", "retry_attempt"]

_EARLY_MS = 5


def read_open(runtime: Runtime, store: Store, run_id: RunId, seq: int) -> tuple[bytes, AttemptState] | None:
    """An activity as stored, and where it stands; None when it is closed.

    Raises:
        CorruptHistoryError: It was offloaded and is lost: nothing would move the run any more, so it has been parked.
    """
    try:
        return store.attempts.read(run_id, seq)
    except CorruptHistoryError as error:
        for record in store.runs.records([run_id]):
            if store.runs.park(run_id, fence=record.number("fence"), kind="history", reason=str(error)):
                announce_parked(runtime, store.keyspace.namespace, run_id, "history", str(error))
        raise


def dispatch_attempt(
    runtime: Runtime, namespace: str, store: Store, attempt: AttemptId, *, activity_blob: bytes, state: str,
    workflow: tuple[str, str, str],
) -> Delivery:  # fmt: skip
    """Send the message of an attempt: a retry that is due, or one whose message seems lost.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        store: Of the namespace.
        attempt: The attempt.
        activity_blob: The activity as stored.
        state: ``backoff`` or ``scheduled``: what it must be.
        workflow: Workflow id, type and task queue of the run.
    """
    activity = read_activity(activity_blob)
    assert activity is not None  # the caller read it
    send = activity.send(runtime, namespace, attempt, workflow=workflow)
    a = attempt
    entry: bytes = msgpack.packb(["attempt", namespace, a.run_id, a.seq, a.attempt, a.token])
    answer = store.attempts.dispatch(
        attempt, state=state, entry=entry, pushes=runtime.messages.pushes(send),
        start_ms=int(activity.options.get("schedule_to_start_timeout_ms") or 0),
    )  # fmt: skip
    if answer.status == "outbox" and runtime.messages.publish(send):
        store.timers.finish(a.run_id, [answer.detail])
    return answer


def retry_attempt(runtime: Runtime, namespace: str, run_id: RunId, seq: int) -> None:
    """Send the next attempt of an activity whose pause is over; without effect when that has been done, or is early.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        run_id: The run.
        seq: Number of the activity.
    """
    store = runtime.store(namespace)
    found = read_open(runtime, store, run_id, seq)
    records = store.runs.records([run_id])
    if found is None or not records or read_activity(found[0]) is None or found[1].state != "backoff":
        return
    state, fields = found[1], records[0].fields
    if runtime.redis_now_ms() + _EARLY_MS < state.since_ms:
        return  # the clock of this host is ahead of Redis': the sweep sends it in time
    dispatch_attempt(
        runtime, namespace, store, AttemptId(run_id, seq, state.attempt, state.token), activity_blob=found[0],
        state="backoff", workflow=(fields["id"], fields["type"], fields.get("queue", "")),
    )  # fmt: skip
