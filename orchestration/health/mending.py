"""Puts back what should move a run: out of what its record, its open commands and its history still say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgpack

from orchestration.core import events
from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.core.pid import parse_pid
from orchestration.core.prefix import OpenCommand, open_at
from orchestration.health.bundles import code_here
from orchestration.health.judging import Fault, Mender
from orchestration.store.audits import Mend, OpenEntry, Snapshot
from orchestration.store.store import Store
from orchestration.tasks.chain_options import ChainFacts, ChainOptions, facts_of
from orchestration.tasks.children import child_id
from orchestration.tasks.effects import read_activity
from orchestration.tasks.runtime import Runtime

__all__ = ["Mending", "mend_run"]


@dataclass(frozen=True, slots=True)
class Mending:
    """What came of mending a run.

    Attributes:
        status: ``mended``, ``moved`` (it has changed meanwhile: look again), ``closed`` (it has ended), or ``nothing``.
        done: What was done, for people.
    """

    status: str
    done: tuple[str, ...] = ()


def mend_run(runtime: Runtime, namespace: str, seen: Snapshot, faults: Iterable[Fault]) -> Mending:
    """Put back what is lost, if nothing has changed the run since it was inspected. Safe to repeat.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        seen: The run as it was inspected.
        faults: What is wrong with it.

    Raises:
        CorruptHistoryError: What is lost cannot be made of the history, which cannot be read.
    """
    mender = _Mender(runtime, namespace, seen)
    for fault in faults:
        if fault.by is Mender.AUDIT:
            mender.mend(fault)
    if not mender.ops and not mender.code:
        return Mending("nothing")
    answer = mender.store.audits.mend(seen, Mend(mender.ops, mender.code))
    return Mending(answer.status, tuple(mender.done) if answer.status == "mended" else ())


def child_name(store: Store, seen: Snapshot, seq: int) -> str:
    """Workflow id of a child, as the history has it; empty when it says nothing."""
    past = _Past(store, seen)
    address = parse_pid(past.started.get(seq, ""))
    if address is not None:
        return address.unique
    command = past.open.get(seq)
    event = events.decode(command.command) if command else None
    return child_id(seen.run_id, seq, event.options) if isinstance(event, events.StartChild) else ""


class _Past:
    """The history of a run, read once, when it is needed."""

    def __init__(self, store: Store, seen: Snapshot) -> None:
        self._store = store
        self._seen = seen

    @cached_property
    def _read(self) -> tuple[dict[int, OpenCommand], dict[int, str], dict[str, Any]]:
        started: dict[int, str] = {}
        meta: dict[str, Any] = {}

        def history() -> Iterator[bytes]:
            for event in self._store.runs.history(self._seen.run_id, stop=self._seen.number("length")):
                if event[1] in (Code.STARTED, Code.CHILD_STARTED):
                    decoded = events.decode(event)
                    if isinstance(decoded, events.Started):
                        meta.update(decoded.meta)
                    elif isinstance(decoded, events.ChildStarted):
                        started[decoded.seq] = decoded.pid
                yield event

        return open_at(history()), started, meta

    @property
    def open(self) -> dict[int, OpenCommand]:
        """What it has asked for and not been answered."""
        return self._read[0]

    @property
    def started(self) -> dict[int, str]:
        """Addresses of its children."""
        return self._read[1]

    @cached_property
    def begun_ms(self) -> int:
        """Time of its start, or of that of the run whose history it goes on with."""
        for event in self._store.runs.history(self._seen.run_id, stop=1):
            decoded = events.decode(event)
            if isinstance(decoded, events.Started):
                return decoded.time_ms
        return 0

    @property
    def meta(self) -> dict[str, Any]:
        """What it was started with."""
        return self._read[2]


class _Mender:
    def __init__(self, runtime: Runtime, namespace: str, seen: Snapshot) -> None:
        self._runtime = runtime
        self._namespace = namespace
        self._seen = seen
        self.store = runtime.store(namespace)
        self.ops: list[list[Any]] = []
        self.code = b""
        self.done: list[str] = []
        self._past = _Past(self.store, seen)

    @property
    def _member(self) -> str:
        return self._seen.run_id

    def mend(self, fault: Fault) -> None:
        """Add what puts one thing right; nothing, when what it takes is not known any more."""
        seen = self._seen
        if fault.kind == "inbox":
            self._op("it will be looked after", "ready")
        elif fault.kind == "listing":
            self._op("it is on the list of parked runs again", "parked")
        elif fault.kind == "delay":
            self._timer("its start delay is set again", "delay", seen.number("delayed"))
        elif fault.kind == "deadline":
            self._timer("its execution timeout is set again", "exec", seen.number("deadline"))
        elif fault.kind == "timeout":
            self._timer("its run timeout is set again", "run", self._timeout_ms)
        elif fault.kind == "expiry":
            self._timer("it expires again", "expire", seen.number("expires"))
        elif fault.kind == "unlisted":
            self._op("it is on the list of open runs again", "listed")
        elif fault.kind == "bundle":
            self.code = code_here(self._runtime, seen.fields.get("bundle", ""))
            if self.code:
                self.done.append("its code is in the store again")
        else:
            command = next((entry for entry in seen.commands if entry.seq == fault.seq), None)
            handler = _BY_KIND.get(fault.kind)
            if command is not None and handler is not None:
                handler(self, command)

    def _op(self, done: str, *op: Any) -> None:
        self.ops.append(list(op))
        self.done.append(done)

    def _timer(self, done: str, last: str, due_ms: int, seq: str = "", packed: bytes = b"") -> None:
        self._op(done, "timer", f"{self._member}/{last}", due_ms, seq, packed)

    def _lost_timer(self, command: OpenEntry) -> None:
        asked = self._past.open.get(command.seq)
        event = events.decode(asked.command) if asked else None
        if asked is not None and isinstance(event, events.StartTimer):
            done = f"timer {command.seq} is set again"
            self._timer(done, f"{command.seq}/timer", asked.time_ms + event.delay_ms, str(command.seq))

    def _lost_attempt(self, command: OpenEntry) -> None:
        seq, state = command.seq, command.state
        assert state is not None  # else nobody but an operator mends it
        if state.state == "scheduled":
            member = f"{self._member}/{seq}"
            done = f"the message of activity {seq} is looked after again"
            self._op(done, "pending", member, str(seq), command.packed)
        elif state.state == "backoff":
            done = f"the next attempt of activity {seq} is set again"
            self._timer(done, f"{seq}/retry", state.since_ms, str(seq), command.packed)
        else:
            found = self.store.attempts.read(self._seen.run_id, seq)
            activity = read_activity(found[0]) if found else None
            if activity is not None:
                due_ms = state.since_ms + activity.close_ms(self._runtime.settings.start_to_close_ms)
                done = f"the start-to-close timeout of activity {seq} is set again"
                self._timer(done, f"{seq}/close", due_ms, str(seq), command.packed)

    @property
    def _timeout_ms(self) -> int:
        """When its run timeout is over: never sooner than it would have been, though its start delay may be unknown."""
        seen = self._seen
        timeout_ms = ChainOptions(seen.fields.get("opts", "")).run_timeout_ms
        if not seen.number("length"):
            return max(seen.number("delayed"), seen.time_ms) + timeout_ms
        return max(seen.number("started"), self._past.begun_ms) + timeout_ms

    def _surplus(self, command: OpenEntry) -> None:
        for name in command.surplus:
            member = f"{self._member}/{command.seq}{'' if name == 'pending' else name}"
            self.ops.append(["drop", member, str(command.seq), command.packed])
        self.done.append(f"activity {command.seq} is looked after once")

    def _unmarked(self, command: OpenEntry) -> None:
        self._op(f"the outbox entry {command.outbox} will be taken up", "due", command.outbox)

    def _lost_request(self, command: OpenEntry) -> None:
        seq, asked = command.seq, self._past.open.get(command.seq)
        event = events.decode(asked.command) if asked else None
        head = [self._namespace, self._seen.run_id, seq, self._pid]
        if isinstance(event, events.SendSignal):
            self._out(seq, "m", f"message {seq} is sent again", ["signal", *head, event.pid, event.topic, event.args])
        elif isinstance(event, events.CancelExternal):
            entry = ["cancel", *head, event.pid, event.reason, event.terminate]
            self._out(seq, "x", f"request {seq} is sent again", entry)

    def _lost_child(self, command: OpenEntry) -> None:
        seq, asked = command.seq, self._past.open.get(command.seq)
        event = events.decode(asked.command) if asked else None
        if not isinstance(event, events.StartChild):
            return
        if seq in self._past.started:
            entry: list[Any] = ["watch", self._namespace, self._seen.run_id, seq, self._past.started[seq]]
            self._out(seq, "w", f"child {seq} is asked for its end again", entry)
            return
        facts = self._facts
        context = {**dict(facts.meta.get("ctx") or {}), **event.options.get("ctx", {})}
        options = {**event.options, **Identity.of(event.options, Identity.of(facts.meta)).fields()}
        queue = self._seen.fields.get("queue", "")
        entry = ["child", self._namespace, self._seen.run_id, seq, self._pid, queue, event.type, event.host]
        self._out(seq, "k", f"child {seq} is asked for again", [*entry, event.args, options, context])

    def _out(self, seq: int, letter: str, done: str, entry: list[Any]) -> None:
        self._op(done, "out", f"{letter}/{self._member}/{seq}", msgpack.packb(entry), str(seq), b"")

    @cached_property
    def _facts(self) -> ChainFacts:
        record = self.store.runs.record(self._seen.run_id)
        return facts_of(self._namespace, record, self._past.meta)

    @property
    def _pid(self) -> str:
        return str(self._facts.meta.get("pid", ""))


_BY_KIND = {
    "timer": _Mender._lost_timer, "activity": _Mender._lost_attempt, "outbox": _Mender._unmarked,
    "request": _Mender._lost_request, "child": _Mender._lost_child, "surplus": _Mender._surplus,
}  # fmt: skip
