"""Work that a commit leaves to be done outside its script: done at once by its holder, else by the sweep."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.pid import parse_pid
from orchestration.errors import (
    EntryNotFoundError,
    InboxFullError,
    OrchestrationError,
    StoreUnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowNotFoundError,
)
from orchestration.faults import fault
from orchestration.host.mail import send_mail
from orchestration.host.names import problem_of
from orchestration.host.wire import address_of
from orchestration.store.attempts import AttemptId
from orchestration.store.inputs import encode_input
from orchestration.store.results import Delivery
from orchestration.store.store import Store
from orchestration.tasks.children import child_id, end_orphan, start_child
from orchestration.tasks.completion import complete_outer, watch_run
from orchestration.tasks.dispatch import read_open
from orchestration.tasks.effects import read_activity
from orchestration.tasks.endings import trace_outside_end
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["Outbox", "deliver", "deliver_on", "start_problem", "terminate_on", "terminate_run"]

logger = logging.getLogger(__name__)


def deliver(
    runtime: Runtime, namespace: str, run_id: RunId, item: bytes, *, request_id: str = "", queue: str | None = None
) -> Delivery:
    """Put an input into a run's inbox and publish a wake-up if one is needed.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        run_id: The run.
        item: The input, encoded without its time.
        request_id: Repeats of it are answered ``duplicate``; empty: every call of this function delivers.
        queue: The run's task queue, if known.
    """
    store = runtime.store(namespace)
    if queue is None:
        queue = store.runs.record(run_id).fields.get("queue", "")
    send = runtime.messages.resume(namespace, run_id, queue=queue)
    # The store repeats what got no reply: without an id, that could deliver twice.
    request_id = request_id or f"once/{os.urandom(12).hex()}"
    delivery = store.runs.deliver(run_id, item, request_id=request_id, pushes=runtime.messages.pushes(send))
    if delivery.status == "wake":
        runtime.messages.publish(send)
    return delivery


def deliver_on(runtime: Runtime, namespace: str, run_id: RunId, item: bytes, *, request_id: str = "") -> Delivery:
    """As :func:`deliver`, for what is meant for the workflow: the runs that take the place of a run are followed.

    A run may go on as another one between the moment it is found and the delivery.
    """
    request_id = request_id or f"once/{os.urandom(12).hex()}"
    return _follow(
        runtime, namespace, run_id, lambda run_id: deliver(runtime, namespace, run_id, item, request_id=request_id)
    )


def _follow(runtime: Runtime, namespace: str, run_id: RunId, act: Callable[[RunId], Delivery]) -> Delivery:
    """Act on a run, or on the first of those that have taken its place that has not ended."""
    while (delivery := act(run_id)).status == "closed":
        found = runtime.store(namespace).runs.records([run_id])
        if not found or "next" not in found[0].fields:
            break
        run_id = RunId(found[0].fields["next"])
    return delivery


class Outbox:
    """Performs outbox entries. Every entry is safe to perform again.

    Args:
        runtime: Of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._handlers: dict[str, Callable[..., None]] = {
            "attempt": self._attempt,
            "complete": self._complete,
            "signal": self._signal,
            "cancel": self._cancel,
            "child": self._child,
            "watch": self._watch,
            "orphan": functools.partial(end_orphan, runtime),
        }

    def perform(
        self, store: Store, entries: Iterable[tuple[str, bytes]], *, sent: bool = False, is_first: bool = False
    ) -> None:
        """Perform entries and forget those that are done; a failing one is logged and left to the sweep.

        Args:
            store: Where they are kept.
            entries: Id and contents of each.
            sent: Messages of attempts have been published already.
            is_first: They have just been written: nobody has performed them before.
        """
        done: list[str] = []
        for name, entry in entries:
            kind, *rest = msgpack.unpackb(entry, raw=False, strict_map_key=False)
            try:
                if not (sent and kind == "attempt") and (is_first or not self._is_answered(kind, rest)):
                    self._handlers[kind](*rest)
                done.append(name)
            except StoreUnavailableError:
                raise
            except Exception:
                logger.exception("outbox entry left to the sweep", extra={"entry": name})
        fault("before_finish")
        if done:
            store.timers.finish(RunId(done[0].split("/")[1]), done)

    def _is_answered(self, kind: str, rest: Sequence[Any]) -> bool:
        """Whether the run that asks knows already what became of its request, and has gone on with that.

        The marks of effects tell apart what has been done. What came to nothing (there was no such workflow, or it had
        ended) leaves none: done again, it would meet what has been started under the same id since.
        """
        if kind not in ("signal", "cancel", "child"):
            return False
        namespace, run_id, seq = rest[:3]
        store = self._runtime.store(namespace)
        if kind != "child":
            return store.runs.has_had(RunId(run_id), f"op/{run_id}/{seq}")
        # One that has been started may still have to be watched.
        return store.runs.has_had(RunId(run_id), f"k/{run_id}/{seq}") and not store.chains.bar_start(
            child_id(run_id, seq, rest[8]), f"child/{run_id}/{seq}"
        )

    def _attempt(self, namespace: str, run_id: str, seq: int, attempt: int, token: str) -> None:
        runtime = self._runtime
        store = runtime.store(namespace)
        found = read_open(runtime, store, RunId(run_id), seq)
        if found is None:
            return
        blob, state = found
        activity = read_activity(blob)
        if activity is None or (state.attempt, state.token, state.state) != (attempt, token, "scheduled"):
            return
        fields = store.runs.record(RunId(run_id)).fields
        workflow = (fields["id"], fields["type"], fields.get("queue", ""))
        send = activity.send(runtime, namespace, AttemptId(RunId(run_id), seq, attempt, token), workflow=workflow)
        if not runtime.messages.publish(send):
            raise OrchestrationError("the broker is away")

    def _complete(self, namespace: str, run_id: str) -> None:
        fault("before_complete")
        try:
            complete_outer(self._runtime, namespace, RunId(run_id))
        except WorkflowNotFoundError:
            text = "a run ended, and nobody could be told within the retention period: who waits for it waits for ever"
            logger.error(text, extra={"run_id": run_id})
        fault("after_complete")

    def _answer(self, namespace: str, run_id: str, seq: int, problem: tuple[str, str] | None) -> None:
        """Tell the asking run what became of its request."""
        value = payload.NIL
        if problem is not None:
            value = payload.encode_failure(problem[1], kind=problem[0], retryable=problem[0] == "RateLimited")
        item = encode_input(Code.OPERATION_DONE, seq, problem is None, value)
        self._tell(namespace, run_id, item, request_id=f"op/{run_id}/{seq}")

    def _tell(self, namespace: str, run_id: str, item: bytes, *, request_id: str) -> None:
        """Answer the run that has asked for something; one whose retention is over waits for nothing."""
        with contextlib.suppress(WorkflowNotFoundError):
            deliver(self._runtime, namespace, RunId(run_id), item, request_id=request_id)

    def _find(self, namespace: str, pid: str) -> RunId:
        target = parse_pid(pid)
        if target is None:
            raise WorkflowNotFoundError(f"could not resolve '{pid}' as PID or registered name")
        return self._runtime.store(namespace).runs.current(target.unique)

    def _to_process(self, namespace: str, run_id: str, seq: int, pid: str, what: str, *rest: Any) -> bool:
        """Do something to a process or a running function, and answer; False: the address is of a workflow."""
        address = address_of(pid)
        if address is None:
            return False
        status = send_mail(self._runtime, address, f"op/{run_id}/{seq}", what, *rest)
        problem = None
        if status != "ok":
            problem = problem_of(status, [], pid)
        self._answer(namespace, run_id, seq, None if problem is None else (problem.kind, problem.message))
        return True

    def _signal(self, namespace: str, run_id: str, seq: int, me: str, pid: str, topic: str, args: bytes) -> None:
        item = encode_input(Code.SIGNAL, topic, args, me)
        if self._to_process(namespace, run_id, seq, pid, "item", item):
            return
        try:
            target = self._find(namespace, pid)
            found = deliver_on(self._runtime, namespace, target, item, request_id=f"s/{run_id}/{seq}")
            problem = ("NotFound", f"process not found: {pid} has ended") if found.status == "closed" else None
            if found.status == "full":
                problem = ("RateLimited", f"the inbox of {pid} is full: {found.detail} messages are unread")
        except WorkflowNotFoundError as error:
            problem = ("NotFound", str(error))
        self._answer(namespace, run_id, seq, problem)

    def _cancel(
        self, namespace: str, run_id: str, seq: int, me: str, pid: str, reason: str, terminate: bool
    ) -> None:
        what = ("kill",) if terminate else ("cancel", reason, me)
        if self._to_process(namespace, run_id, seq, pid, *what):
            return
        try:
            target = self._find(namespace, pid)
            if terminate:
                request_id = f"t/{run_id}/{seq}"
                terminate_on(self._runtime, namespace, target, reason=reason, sender=me, request_id=request_id)
            else:
                item = encode_input(Code.CANCEL_REQUESTED, reason, me)
                deliver_on(self._runtime, namespace, target, item, request_id=f"x/{run_id}/{seq}")
            problem = None
        except WorkflowNotFoundError as error:
            problem = ("NotFound", str(error))
        self._answer(namespace, run_id, seq, problem)

    def _child(
        self, namespace: str, run_id: str, seq: int, me: str, queue: str, workflow_type: str, host: str,
        args: bytes, options: dict[str, Any], context: dict[str, Any],
    ) -> None:  # fmt: skip
        started = None
        try:
            started = start_child(
                self._runtime, namespace, parent=(run_id, seq, me), queue=queue, workflow_type=workflow_type, host=host,
                args=args, options=options, context=context,
            )  # fmt: skip
            if started is None:
                return
            item = encode_input(Code.CHILD_STARTED, seq, started[0])
        except StoreUnavailableError:
            raise
        except (OrchestrationError, ValueError) as error:
            kind = start_problem(error)
            failure = payload.encode_failure(str(error), kind=kind, retryable=kind == "RateLimited")
            item = encode_input(Code.CHILD_START_FAILED, seq, failure)
        self._tell(namespace, run_id, item, request_id=f"k/{run_id}/{seq}")
        if started is not None and not started[2]:
            watch_run(self._runtime, namespace, started[1], f"{namespace}/{run_id}/{seq}", pid=started[0])


    def _watch(self, namespace: str, run_id: str, seq: int, pid: str) -> None:
        """Have the end of a child told to the run that has taken its parent's place."""
        try:
            target = self._find(namespace, pid)
        except WorkflowNotFoundError as error:
            failure = payload.encode_failure(str(error), kind="NotFound", retryable=False)
            item = encode_input(Code.CHILD_ENDED, seq, pid, False, failure)
            self._tell(namespace, run_id, item, request_id=f"e/{namespace}/{run_id}/{seq}")
            return
        watch_run(self._runtime, namespace, target, f"{namespace}/{run_id}/{seq}", pid=pid)


def start_problem(error: Exception) -> str:
    """Kind of the error that a start has failed with, as Lua code reads it."""
    if isinstance(error, EntryNotFoundError):
        return "NotFound"
    if isinstance(error, InboxFullError):
        return "RateLimited"
    return "AlreadyExists" if isinstance(error, WorkflowAlreadyStartedError) else "Invalid"


def terminate_run(
    runtime: Runtime, namespace: str, run_id: RunId, *, reason: str, sender: str = "", request_id: str = ""
) -> Delivery:
    """End a run at once; its code has no say.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        run_id: The run.
        reason: Why.
        sender: Address of who asks; empty: none.
        request_id: The same request ends one run of the workflow; empty: every call may.

    Returns:
        ``ended``, ``closed`` with the status it had, or ``duplicate`` when the request has ended a run before.
    """
    store = runtime.store(namespace)
    delivery = store.runs.end(
        run_id, status="terminated", code=Code.TERMINATED, details=[reason, sender],
        outbox_id=f"c/{run_id}", entry=msgpack.packb(["complete", namespace, run_id]), request_id=request_id,
    )  # fmt: skip
    if delivery.status == "ended":
        trace_outside_end(runtime, namespace, run_id, "terminated")
        Outbox(runtime).perform(store, [(f"c/{run_id}", msgpack.packb(["complete", namespace, run_id]))])
    return delivery


def terminate_on(
    runtime: Runtime, namespace: str, run_id: RunId, *, reason: str, sender: str = "", request_id: str = ""
) -> Delivery:
    """As :func:`terminate_run`; the runs that take the place of a run are followed."""
    return _follow(
        runtime, namespace, run_id,
        lambda run_id: terminate_run(runtime, namespace, run_id, reason=reason, sender=sender, request_id=request_id),
    )  # fmt: skip
