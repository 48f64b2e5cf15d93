"""Waits for the end of a workflow: told by a channel, looked at again now and then, followed from run to run."""

from __future__ import annotations

import threading
import time

from orchestration.store.outcome import Outcome, read_outcome
from orchestration.store.results import RunRecord
from orchestration.store.store import Store
from orchestration.types import RunId

__all__ = ["wait_for_end"]

_LOOK_AGAIN_S = 5.0
_STOP_S = 0.5


def wait_for_end(
    store: Store, run_id: RunId, *, timeout_s: float | None = None, stop: threading.Event | None = None
) -> tuple[RunRecord, Outcome] | None:
    """Wait until a run, and every run that takes its place, has ended.

    Args:
        store: Where it is kept.
        run_id: The run.
        timeout_s: Longest wait; None waits for ever.
        stop: Ends the wait within half a second.

    Returns:
        Record and outcome of the last run of the chain; None when the time is over or the wait was stopped.

    Raises:
        WorkflowNotFoundError: No such run.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        record = _closed(store, run_id, deadline, stop)
        if record is None:
            return None
        if "next" not in record.fields:
            return record, read_outcome(store.runs.last_event(run_id))
        run_id = RunId(record.fields["next"])


def _closed(store: Store, run_id: RunId, deadline: float | None, stop: threading.Event | None) -> RunRecord | None:
    record = store.runs.record(run_id)
    if record.number("closed"):
        return record
    longest = _LOOK_AGAIN_S if stop is None else _STOP_S
    subscription = store.runs.subscribe_end(run_id)
    try:
        while not (record := store.runs.record(run_id)).number("closed"):
            left = longest if deadline is None else min(deadline - time.monotonic(), longest)
            if left <= 0 or (stop is not None and stop.is_set()):
                return None
            subscription.wait(left)
    finally:
        subscription.close()
    return record
