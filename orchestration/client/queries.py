"""Queries: answered by whoever asks, from the run's history and its pinned code, with no worker up."""

from __future__ import annotations

import time
from typing import Any

from orchestration.core import handlers, payload
from orchestration.core.events import Code
from orchestration.core.failures import application_error
from orchestration.core.machine import Machine
from orchestration.core.replay import replay
from orchestration.core.schedule import time_text
from orchestration.errors import (
    CorruptHistoryError,
    NondeterminismError,
    QueryFailedError,
    SandboxError,
)
from orchestration.store.results import RunRecord
from orchestration.store.store import Store
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.workflow_host import WorkflowHost
from orchestration.types import RunId

__all__ = ["query_run"]

_LOOK_AGAIN_S = 5.0


def query_run(
    runtime: Runtime, namespace: str, run_id: RunId, name: str, args: bytes, *, timeout_s: float | None
) -> Any:
    """Bring a machine to where a run stands and call a query handler on it.

    Costs a replay of the run, in this process; the run knows nothing of it.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        run_id: The run; it may be parked, or have ended.
        name: Name of the query.
        args: Encoded array of its arguments.
        timeout_s: Longest wait for a run that has not begun; None for ever.

    Raises:
        QueryFailedError: It has no result; ``kind`` says why.
        WorkflowNotFoundError: No such run.
    """
    store = runtime.store(namespace)
    record = _begun(store, run_id, timeout_s)
    digest = record.fields.get("bundle", "")
    bundle = runtime.bundle(store, run_id, digest)
    if bundle is None:
        raise _failed("Unavailable", f"the code bundle {digest} of the run is not in the store any more")
    history = list(store.runs.history(run_id, stop=record.number("length")))
    if len(history) != record.number("length"):  # it went between two reads: the retention is over
        raise _failed("Unavailable", "the history of the run is not in the store any more")
    if history[0][1] != Code.STARTED:
        raise _failed("Unavailable", f"the run was {record.status} before it began")
    try:
        host = WorkflowHost(run_id, record.fields["id"], record.fields["type"])
        machine = Machine(bundle, limits=runtime.settings.limits, host=host)
        try:
            with runtime.in_lua():
                replay(machine, history, lenient_until=record.lenient_until)
                answer = handlers.ask(machine, name, args)
        finally:
            machine.close()
    except (NondeterminismError, CorruptHistoryError, SandboxError) as error:
        raise _failed("Conflict", f"the history of the run cannot be replayed: {error}") from error
    if answer.ok:
        return payload.decode(answer.value)
    raise application_error(payload.decode_failure(answer.value), QueryFailedError)


def _begun(store: Store, run_id: RunId, timeout_s: float | None) -> RunRecord:
    """Wait until a run has a history."""
    record = store.runs.record(run_id)
    if record.number("length"):
        return record
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    subscription = store.updates.subscribe(run_id)
    try:
        while not (record := store.runs.record(run_id)).number("length"):
            if record.status != "running":
                raise _failed("Unavailable", f"not started yet: the run is {record.status}")
            left = _LOOK_AGAIN_S if deadline is None else min(deadline - time.monotonic(), _LOOK_AGAIN_S)
            if left <= 0:
                if record.number("delayed"):
                    begins = time_text(record.number("delayed"))
                    raise _failed("Unavailable", f"not started yet: the run begins at {begins}")
                raise _failed("Unavailable", f"not started yet: no worker has taken the run within {timeout_s:g} s")
            subscription.wait(left)
    finally:
        subscription.close()
    return record


def _failed(kind: str, message: str) -> QueryFailedError:
    return QueryFailedError(message, kind, kind == "Unavailable")
