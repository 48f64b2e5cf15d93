"""Ends runs whose time is over: with time to clean up first if that is wanted, and with the next run if one follows."""

from __future__ import annotations

import msgpack

from orchestration.core.events import Code
from orchestration.store.inputs import encode_input
from orchestration.store.store import Store
from orchestration.tasks.aside import Performs
from orchestration.tasks.chain_options import facts_of
from orchestration.tasks.endings import trace_outside_end
from orchestration.tasks.outbox import deliver
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.successors import Successor, after_end, started_of
from orchestration.telemetry.announcer import RunFacts
from orchestration.types import RunId

__all__ = ["time_out"]

_TYPES = {"run": "run", "exec": "execution"}


def time_out(
    runtime: Runtime, namespace: str, store: Store, run_id: RunId, member: str, *, outbox: Performs
) -> None:
    """End a run whose deadline is due.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        store: Of the namespace.
        run_id: The run.
        member: The deadline: run id and ``run`` or ``exec``.
        outbox: Tells of its end.
    """
    kind = _TYPES[member.rpartition("/")[2]]
    records = store.runs.records([run_id])
    if not records:
        store.timers.forget(member)
        return
    facts = facts_of(namespace, records[0], {})
    grace_ms = facts.options.cancel_grace_ms
    if grace_ms:
        # First the request, then the time for it: between the two a crash repeats the request, which counts once.
        item = encode_input(Code.CANCEL_REQUESTED, f"workflow timed out ({kind})", "")
        deliver(runtime, namespace, run_id, item, request_id=f"grace/{run_id}", queue=facts.queue)
        if store.chains.extend_deadline(run_id, member, grace_ms=grace_ms).status != "over":
            return
    successor = _retry(runtime, namespace, store, run_id) if kind == "run" else None
    entry: bytes = msgpack.packb(["complete", namespace, run_id])
    answer = store.runs.end(
        run_id, status="timed_out", code=Code.TIMED_OUT, details=[kind],
        outbox_id="" if successor else f"c/{run_id}", entry=entry, timer=member,
        following=successor.packed if successor else b"",
    )  # fmt: skip
    if answer.status != "ended":
        return
    trace_outside_end(runtime, namespace, run_id, "timed_out")
    if successor is not None:
        runtime.announcer.continued(RunFacts.of(namespace, records[0]), "timed_out")
    if successor is None:
        outbox.perform(store, [(f"c/{run_id}", entry)])
    elif successor.send is not None and not runtime.messages.atomic:
        runtime.messages.publish(successor.send)


def _retry(runtime: Runtime, namespace: str, store: Store, run_id: RunId) -> Successor | None:
    record = store.runs.record(run_id)
    facts = facts_of(namespace, record, {})
    if (facts.options.retry is None and not facts.options.cron) or not facts.digest:
        return None  # without code nobody has ever taken it up: another would not be either
    if store.runs.bundle(run_id, facts.digest) is None:
        return None  # its code is gone
    started = started_of(store, run_id)
    if started is None:
        return None
    failure = {"kind": "Timeout", "message": "workflow timed out (run)"}
    return after_end(
        runtime, store, facts_of(namespace, record, started.meta), args=started.args, failure=failure,
        now_ms=runtime.redis_now_ms(),
    )  # fmt: skip
