"""What a run that begins with the history of another one begins with: events, inputs, and what is open there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack

from orchestration.core import events, payload
from orchestration.core.bundle import Bundle
from orchestration.core.events import Code
from orchestration.core.machine import Machine
from orchestration.core.pid import parse_pid
from orchestration.core.prefix import Cut, cut_at, later_answers, open_at, without_answer
from orchestration.core.replay import replay
from orchestration.errors import OrchestrationError, WorkflowNotFoundError
from orchestration.store.inputs import encode_input, stamp, unstamp
from orchestration.store.results import RunRecord
from orchestration.store.store import Store
from orchestration.store.updates import ACCEPTED, UpdateStatus, encode_answer
from orchestration.tasks.cache import Session
from orchestration.tasks.chain_options import facts_of
from orchestration.tasks.children import child_id, open_child
from orchestration.tasks.effects import Effects
from orchestration.tasks.outcomes import canceled_item
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["Draft", "answer_fork", "ask_again", "pid_of", "read_draft", "session_of", "take_over", "update_ops"]

_OF_CHILDREN = frozenset((Code.CHILD_STARTED, Code.CHILD_START_FAILED, Code.CHILD_ENDED, Code.OPERATION_DONE))
_FINAL = frozenset((Code.CHILD_START_FAILED, Code.CHILD_ENDED, Code.OPERATION_DONE))


@dataclass(slots=True)
class Draft:
    """A copy in the making.

    Attributes:
        record: The run whose history is copied, as it was when that was read.
        history: All its events.
        unread: Its unread inputs.
        cut: Up to where its history is copied.
        bundle: Code of the copy.
        machine: Of that code, at the cut.
        edited: The first input of the copy, when an activity is to have another result.
        inputs: What else waits in the inbox of the copy.
        ops: What is open there, for the store.
        outbox: What is to be done outside the store.
        kept: Numbers of children and requests that the copy takes over.
        unstarted: Of them, children that the copy has to start.
    """

    record: RunRecord
    history: list[bytes]
    unread: list[bytes]
    cut: Cut
    bundle: Bundle
    machine: Machine
    edited: bytes = b""
    inputs: list[bytes] = field(default_factory=list)
    ops: list[Sequence[Any]] = field(default_factory=list)
    outbox: list[tuple[str, bytes]] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    unstarted: list[int] = field(default_factory=list)

    @property
    def prefix(self) -> list[bytes]:
        """The events that are copied."""
        return self.history[: self.cut.length]

    @property
    def moved(self) -> str:
        """Where the copy was moved to other code, as its record has it."""
        moves = [(min(number, self.cut.length), digest) for number, digest in self.record.moves]
        if self.bundle.digest != self.record.fields["bundle"]:
            moves.append((self.cut.length, self.record.fields["bundle"]))
        return ",".join(f"{number}:{digest}" for number, digest in moves)


def read_draft(
    runtime: Runtime, store: Store, run_id: RunId, where: int | str, *, edit: tuple[int, Any] | None = None,
    new_code: bool = False,
) -> Draft:  # fmt: skip
    """Read a run as it is at one moment, and replay the beginning of its history."""
    given: Any = edit
    if given is not None and not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], int)):
        raise TypeError(f"an edit is the number of an activity and its result, as a tuple, not {given!r:.100}")
    while True:
        record = store.runs.record(run_id, extra=True)
        history = list(store.runs.history(run_id, stop=record.number("length"))) if record.number("length") else []
        unread = store.runs.unread(run_id)
        if len(unread) == record.unread and len(history) == record.number("length"):
            break
    if edit is not None:
        part = history[: cut_at(history, where).length]
        cut, _ = without_answer(part, edit[0])
        limit = runtime.settings.value_limit_bytes
        edited = encode_input(Code.ACTIVITY_COMPLETED, edit[0], payload.encode(edit[1], limit=limit))
    else:
        cut, edited = cut_at(history, where), b""
    if new_code:
        bundle = runtime.registry.bundle(record.fields["type"])
        lenient_until = cut.length if bundle.digest != record.fields["bundle"] else record.lenient_until
    else:
        found = runtime.bundle(store, run_id, record.fields["bundle"])
        if found is None:
            raise OrchestrationError(f"the code bundle {record.fields['bundle']} of run {run_id} is not in the store")
        bundle, lenient_until = found, record.lenient_until
    machine = Machine(bundle, limits=runtime.settings.limits)
    try:
        with runtime.in_lua():
            replay(machine, history[: cut.length], lenient_until=lenient_until)
    except BaseException:
        machine.close()
        raise
    return Draft(record, history, unread, cut, bundle, machine, edited)


def session_of(
    namespace: str, draft: Draft, run_id: RunId, workflow_id: str, pid: str, *, trace: str = ""
) -> Session:
    """The new run as its effects are made with it; ``trace`` is what its record says of that."""
    started = events.decode(draft.history[0])
    assert isinstance(started, events.Started)  # the replay has read it
    fields = draft.record.fields
    facts = replace(facts_of(namespace, draft.record, started.meta), trace=trace)
    return Session(
        namespace=namespace, run_id=run_id, workflow_id=workflow_id, workflow_type=fields["type"],
        digest=draft.bundle.digest, queue=fields.get("queue", ""), pid=pid, context=dict(facts.meta.get("ctx") or {}),
        facts=facts, args=b"", machine=draft.machine, length=draft.cut.length, fence=1, time_ms=0,
    )  # fmt: skip


def pid_of(draft: Draft) -> str:
    """Address of the run whose history is copied."""
    started = events.decode(draft.history[0])
    assert isinstance(started, events.Started)
    return str(facts_of("", draft.record, started.meta).meta.get("pid", ""))


def ask_again(runtime: Runtime, effects: Effects, draft: Draft) -> None:
    """Set off anew what is open: activities and timers, and children that never started.

    Raises:
        ValueError: An activity is not defined here.
    """
    edited = _answered(draft.edited) if draft.edited else 0
    for command in open_at(draft.prefix).values():
        event = events.decode(command.command)
        if command.seq in draft.unstarted:
            effects.command(command.command)
        elif isinstance(event, events.StartTimer):
            left_ms = max(command.time_ms + event.delay_ms - effects.time_ms, 0)
            effects.command(events.encode(events.StartTimer(event.seq, left_ms)))
        elif command.is_cancelled and command.seq != edited:
            draft.inputs.append(canceled_item(command.seq))
        elif isinstance(event, events.ScheduleActivity) and event.seq != edited:
            if runtime.registry.find(event.target) is None and not event.options.get("task_queue"):
                raise ValueError(f"activity {event.target} (number {event.seq}) is open there, and is no entry here")
            # A local activity ran in the step of a worker: this process is none, so it becomes an ordinary one.
            effects.command(events.encode(replace(event, options={**event.options, "local": False})))


def update_ops(draft: Draft) -> Iterator[list[Any]]:
    """What the new run knows of the updates that are in its history or its inbox, so that none is made twice."""
    answers: dict[str, bytes] = {}
    for event in map(events.decode, (e for e in draft.prefix if e[1] in (Code.UPDATE, Code.UPDATE_DONE))):
        if isinstance(event, events.UpdateDone):
            status = UpdateStatus.DONE if event.ok else UpdateStatus.FAILED
            answers[event.update_id] = encode_answer(status, event.value)
        elif isinstance(event, events.Update):
            answers[event.update_id] = ACCEPTED
    for item in draft.inputs:
        if item[1] == Code.UPDATE:
            event = events.decode(stamp(item, 0))
            assert isinstance(event, events.Update)
            answers[event.update_id] = b""
    return (["answer", update_id, answer, ""] for update_id, answer in answers.items())


def take_over(runtime: Runtime, store: Store, namespace: str, draft: Draft, session: Session) -> None:
    """Tell the new run what became of the children and requests that are open where it begins."""
    old = draft.record.run_id
    asked = {seq: command for seq, command in open_at(draft.prefix).items() if command.is_of_another_run}
    later = draft.history[draft.cut.length :]
    answers = [unstamp(event) for event in later_answers(later, asked)]
    answers += [item for item in draft.unread if item[1] in _OF_CHILDREN and _answered(item) in asked]
    draft.inputs += answers
    ended = {_answered(item) for item in answers if item[1] in _FINAL}
    pids = dict(_started(map(unstamp, filter(_is_child_start, draft.prefix))))
    pids.update(_started(answers))
    for seq, command in asked.items():
        draft.kept.append(seq)
        if seq in ended:
            continue
        event = events.decode(command.command)
        if not isinstance(event, events.StartChild):  # it was done, and the old run did not live to read so
            draft.inputs.append(encode_input(Code.OPERATION_DONE, seq, True, payload.NIL))
            continue
        address = parse_pid(pids.get(seq, ""))
        child = _latest(store, address.unique if address else child_id(old, seq, event.options))
        parent, _, number = (child.fields.get("parent", "") if child else "").partition("/")
        if seq not in pids:
            if child is None or (parent, number) != (old, str(seq)):
                draft.unstarted.append(seq)  # the new run starts it
                continue
            pids[seq] = child.extra.get("pid", b"").decode()
            draft.inputs.append(encode_input(Code.CHILD_STARTED, seq, pids[seq]))
        is_own = number == str(seq)  # else it was there before, and its end is none of the parent's business
        blob = open_child(replace(session, run_id=parent), seq, event.options) if is_own else b"c"
        draft.ops.append(["open", str(seq), blob])
        entry: bytes = msgpack.packb(["watch", namespace, session.run_id, seq, pids[seq]])
        draft.outbox.append((f"w/{session.run_id}/{seq}", entry))
        draft.ops.append(["out", *draft.outbox[-1]])


def answer_fork(draft: Draft, *, force: bool) -> None:
    """Give the fork the answers that the other run has got of its children and requests."""
    asked = {seq: command for seq, command in open_at(draft.prefix).items() if command.is_of_another_run}
    answers = [unstamp(event) for event in later_answers(draft.history[draft.cut.length :], asked)]
    draft.inputs += answers
    left = asked.keys() - {_answered(item) for item in answers if item[1] in _FINAL}
    if left and not force:
        words = ", ".join(events.describe(asked[seq].command) for seq in sorted(left))
        raise ValueError(f"{words}: is open there and answers the other run alone; fork elsewhere, or force it")


def _latest(store: Store, workflow_id: str) -> RunRecord | None:
    try:
        return store.runs.record(store.runs.current(workflow_id), extra=True)
    except WorkflowNotFoundError:
        return None


def _is_child_start(event: bytes) -> bool:
    return event[1] == Code.CHILD_STARTED


def _started(items: Any) -> Iterator[tuple[int, str]]:
    """Number and address of each child that inputs tell of."""
    for item in items:
        if item[1] == Code.CHILD_STARTED:
            event = events.decode(stamp(item, 0))
            assert isinstance(event, events.ChildStarted)
            yield event.seq, event.pid


def _answered(item: bytes) -> int:
    """The command that an input answers."""
    return int(getattr(events.decode(stamp(item, 0)), "seq", 0))
