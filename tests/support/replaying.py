"""'Replay everything': a mode of the suite in which nothing in memory outlives a step.

``pytest --replay-everything``: workers keep no machine, each step replays the whole history on a fresh one; the runs
that tests drive by hand (:class:`tests.support.lua_runs.Run`) change to a fresh, replayed machine after each input; and
when a deployment is over, the history of every run in its store is replayed to its end. Whatever a run knew beside its
history (a variable that only the first machine had, an order, a clock) shows then.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestration.core.bundle import Bundle
from orchestration.core.events import Code, code_of
from orchestration.core.machine import Machine
from orchestration.core.replay import replay

if TYPE_CHECKING:
    from orchestration.client import Client
    from orchestration.store.results import RunRecord
    from orchestration.store.store import Store

__all__ = ["REPLAY_VARIABLE", "is_replaying_everything", "replay_store", "replayed_machine", "worker_variables"]

REPLAY_VARIABLE = "ORCHESTRATION_TEST_REPLAY_EVERYTHING"
"""Set by the option; may be set by hand."""

_ENDS_FROM_OUTSIDE = (Code.TERMINATED, Code.TIMED_OUT)
_EVERY_STEP = 200
"""Length of a history up to which each step is replayed; of longer ones, each time they have grown by a tenth."""


def is_replaying_everything() -> bool:
    """Whether this run of the suite replays everything."""
    return bool(os.environ.get(REPLAY_VARIABLE))


def worker_variables() -> dict[str, str]:
    """What the workers of tests are told."""
    return {"ORCHESTRATION_CACHE_RUNS": "0"} if is_replaying_everything() else {}


def replayed_machine(machine: Machine, history: list[bytes], *, replayed: int) -> Machine | None:
    """A fresh machine at the end of a history, which must stand where the given one stands.

    Args:
        machine: Has lived through it.
        history: All events so far.
        replayed: Length at the last replay.

    Returns:
        The fresh one; None if it is not due.
    """
    if len(history) > _EVERY_STEP and len(history) < replayed * 1.1:
        return None
    fresh = Machine(machine.bundle, limits=machine.limits, mode=machine.mode, host=machine.host)
    replay(fresh, history)
    assert (fresh.closed, fresh.places()) == (machine.closed, machine.places())
    assert machine.closed or fresh.open_commands() == machine.open_commands()
    return fresh


def replay_store(client: Client) -> list[str]:
    """Replay the history of every run that a client's application keeps; parked runs may have reasons not to.

    Args:
        client: Of the application.

    Returns:
        The runs that do not replay, each with the reason.
    """
    runtime = client._runtime
    stores = [runtime.store(namespace) for namespace in runtime.namespaces]
    return [problem for store in stores for problem in _replay_namespace(store)]


def _replay_namespace(store: Store) -> list[str]:
    problems = []
    for closed in (False, True):
        for run_id, _ in store.runs.listing(closed=closed, limit=100_000):
            record = store.runs.record(run_id)
            code = store.runs.bundle(run_id, record.fields.get("bundle", ""))
            if record.status in ("parked", "paused") or code is None:
                continue
            try:
                _replay_run(store, record, Machine(Bundle.decode(code)))
            except Exception as error:
                problems.append(f"{record.fields['id']} ({record.fields['type']}, {record.status}): {error}")
    return problems


def _replay_run(store: Store, record: RunRecord, machine: Machine) -> None:
    history = list(store.runs.history(record.run_id))
    while history and code_of(history[-1]) in _ENDS_FROM_OUTSIDE:
        history.pop()  # the code never sees it
    if history:
        replay(machine, history, lenient_until=record.lenient_until)
    machine.close()
