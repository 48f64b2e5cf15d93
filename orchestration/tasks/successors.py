"""The run that takes another's place: after continue-as-new, a retry, or the next time of a cron schedule."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kombu import Producer

from orchestration.core import events
from orchestration.core.bundle import Bundle
from orchestration.core.events import Code
from orchestration.core.flags import FORMAT, LUA, current_flags
from orchestration.registry.kinds.lua import WorkflowLua
from orchestration.store.inputs import encode_input, stamp
from orchestration.store.results import Following
from orchestration.store.store import Store
from orchestration.tasks.chain_options import ChainFacts, next_start_ms
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.templates import about_run
from orchestration.types import RunId

__all__ = ["Successor", "after_end", "continued", "started_of", "unread_inputs"]


@dataclass(frozen=True, slots=True)
class Successor:
    """A run to be begun, with the message that brings it to a worker; None when it begins later."""

    packed: bytes
    send: Callable[[Producer], object] | None


def after_end(
    runtime: Runtime, store: Store, facts: ChainFacts, *, args: bytes, failure: Mapping[str, Any] | None, now_ms: int
) -> Successor | None:
    """The run that follows one that has ended with a result or a failure; None when none does.

    Args:
        runtime: Of this process.
        store: Of the namespace.
        facts: Of the run that ends.
        args: What it was started with, encoded.
        failure: What it ends with; None: a result.
        now_ms: Time of the end.
    """
    attempt = int(facts.meta.get("attempt", 1))
    found = next_start_ms(
        facts.options, failure, attempt=attempt, now_ms=now_ms, deadline_ms=facts.deadline_ms
    )  # fmt: skip
    if found is None:
        return None
    delay_ms, number = found
    # A retry is the same run once more, on the same code; the next of a schedule takes the code of today.
    entry = runtime.registry.find(facts.entry_id) if number == 1 else None
    return _successor(
        runtime, store, facts, entry=entry if isinstance(entry, WorkflowLua) else None, args=args, attempt=number,
        delay_ms=delay_ms,
    )  # fmt: skip


def continued(
    runtime: Runtime, store: Store, facts: ChainFacts, *, workflow_type: str | None, args: bytes,
    options: Mapping[str, Any],
) -> Successor | None:  # fmt: skip
    """The run that a workflow goes on as; None when there is no workflow of the type.

    Args:
        runtime: Of this process.
        store: Of the namespace.
        facts: Of the run that ends.
        workflow_type: What to go on as; None: the same.
        args: Encoded array.
        options: Of the command.
    """
    if workflow_type is None:
        entry = runtime.registry.find(facts.entry_id)
    else:
        entry = runtime.registry.workflow_type(workflow_type)
        if entry is None:
            return None
    return _successor(
        runtime, store, facts, entry=entry if isinstance(entry, WorkflowLua) else None, args=args, attempt=1,
        context=options.get("ctx") or {}, unread=unread_inputs(options.get("unread") or []),
    )  # fmt: skip


def unread_inputs(items: Sequence[Sequence[Any]]) -> list[bytes]:
    """Signals and cancel requests that a run had taken and not read, as inputs."""
    inputs = []
    for code, first, second, *sender in items:
        if code == Code.SIGNAL:
            args = second.encode() if isinstance(second, str) else second
            inputs.append(encode_input(code, first, args, *sender))
        else:
            inputs.append(encode_input(code, first, second))
    return inputs


def _successor(
    runtime: Runtime, store: Store, facts: ChainFacts, *, entry: WorkflowLua | None, args: bytes, attempt: int,
    delay_ms: int = 0, context: Mapping[str, Any] | None = None, unread: Sequence[bytes] = (),
) -> Successor:  # fmt: skip
    run_id = store.runs.new_id(facts.workflow_id)
    meta = {
        **facts.meta, "run_id": run_id, "seed": os.urandom(16), "attempt": attempt, "lua": LUA, "format": FORMAT,
        "flags": current_flags(),
    }  # fmt: skip
    if not meta["flags"]:
        del meta["flags"]
    if context is not None:
        meta.pop("ctx", None)
        if context:
            meta["ctx"] = dict(context)
    fields: dict[str, str | int] = {}
    digest, code = facts.digest, b""
    if entry is not None:
        bundle: Bundle = runtime.registry.bundle(entry.id)
        meta["type"] = entry.type_name
        if bundle.digest != digest:
            digest, code = bundle.digest, bundle.encode()
        if entry.id != facts.entry_id:
            fields["type"] = entry.id
    if attempt > 1:
        fields["attempt"] = attempt
    if runtime.telemetry is not None:
        trace = runtime.telemetry.origin_after(str(facts.meta.get("run_id", "")), facts.trace)
        if trace:
            fields["trace"] = trace
    about = about_run(facts.workflow_id, entry.id if entry is not None else facts.entry_id)
    send = None if delay_ms else runtime.messages.resume(facts.namespace, run_id, queue=facts.queue, about=about)
    following = Following(
        run_id=RunId(run_id), digest=digest, code=code, fields=fields,
        inputs=[encode_input(Code.STARTED, meta, args), *unread], delay_ms=delay_ms,
        run_timeout_ms=facts.options.run_timeout_ms,
        **({"pushes": runtime.messages.pushes(send)} if send else {}),
    )  # fmt: skip
    return Successor(store.chains.pack(following, workflow_id=facts.workflow_id), send)


def started_of(store: Store, run_id: RunId) -> events.Started | None:
    """The start of a run: from its history, or from its inbox before its first step; None when it has been neither."""
    first = list(store.runs.history(run_id, stop=1)) or [stamp(item, 0) for item in store.runs.unread(run_id)[:1]]
    decoded = events.decode(first[0]) if first else None
    return decoded if isinstance(decoded, events.Started) else None

