"""What the commands of a step set off: entries in the store, messages to workers, work for the outbox."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack
from kombu import Producer

from orchestration.core import payload
from orchestration.core.activity_options import entry_options
from orchestration.core.call_options import split_arguments
from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.modules.permissions import find_target, refused_command
from orchestration.registry.kinds.functions import FunctionCelery
from orchestration.registry.kinds.lua import ProcessLua, WorkflowLua
from orchestration.registry.kinds.processes import ProcessPython
from orchestration.store.attempts import AttemptId, backoff_state, claimed_state, first_state
from orchestration.store.indexing import attribute_op
from orchestration.store.inputs import encode_input
from orchestration.store.results import Lease, Pushes
from orchestration.store.updates import ACCEPTED, UpdateStatus, encode_answer
from orchestration.tasks.cache import Session
from orchestration.tasks.children import open_child
from orchestration.tasks.local import LocalCall, LocalCalls, local_token
from orchestration.tasks.messages import AttemptMark, idempotency_key
from orchestration.tasks.outcomes import canceled_item
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.successors import Successor, after_end, continued

__all__ = ["Activity", "Effects", "read_activity"]


_WHOLE = {"start": "schedule_to_start_timeout_ms", "whole": "schedule_to_close_timeout_ms"}
"""Options behind the deadlines that count from the call, by the timer's last word."""


class Activity:
    """An activity as a commit stores it: all that is needed to send its message, again and again.

    Args:
        blob: As stored in the run's hash of open commands.
    """

    def __init__(self, blob: bytes) -> None:
        fields = msgpack.unpackb(blob, raw=False)
        _kind, self.target, self.task, self.queue, self.args, self.options, *rest = fields
        self.scheduled_ms, self.key, self.context = rest

    @staticmethod
    def encode(
        *, target: str, task: str, queue: str, args: bytes, options: dict[str, Any], scheduled_ms: int, key: str,
        context: dict[str, Any],
    ) -> bytes:  # fmt: skip
        """Encode for the store."""
        blob: bytes = msgpack.packb(["a", target, task, queue, args, options, scheduled_ms, key, context])
        return blob

    def close_ms(self, default_ms: int) -> int:
        """Start-to-close timeout of an attempt; always set."""
        whole = int(self.options.get("schedule_to_close_timeout_ms") or 0)
        given = int(self.options.get("start_to_close_timeout_ms") or 0)
        return given or (whole or default_ms)

    @property
    def identity(self) -> Identity:
        """In whose name it is called."""
        return Identity.of(self.options)

    @property
    def trace(self) -> str:
        """Its span, as a ``traceparent``; empty: none."""
        return str(self.options.get("trace") or "")

    @property
    def beat_ms(self) -> int:
        """Heartbeat timeout, 0 for none."""
        return int(self.options.get("heartbeat_timeout_ms") or 0)

    def mark(
        self, runtime: Runtime, namespace: str, attempt: AttemptId, *, workflow: tuple[str, str, str]
    ) -> AttemptMark:
        """What an attempt is called with.

        Args:
            runtime: Of this process.
            namespace: Of the run.
            attempt: Which attempt.
            workflow: Workflow id, type and task queue of the run.
        """
        return AttemptMark(
            namespace=namespace, attempt=attempt, target=self.target, workflow_id=workflow[0],
            workflow_type=workflow[1], queue=workflow[2], close_ms=self.close_ms(runtime.settings.start_to_close_ms),
            beat_ms=self.beat_ms, key=self.key, context=self.context,
            identity=self.identity,
        )  # fmt: skip

    def send(
        self, runtime: Runtime, namespace: str, attempt: AttemptId, *, workflow: tuple[str, str, str]
    ) -> Callable[[Producer], object]:
        """The message of an attempt; arguments as those of :meth:`mark`."""
        mark = self.mark(runtime, namespace, attempt, workflow=workflow)
        args, kwargs = split_arguments(payload.decode(self.args), keywords=bool(self.options.get("kwargs")))
        return runtime.messages.attempt(
            mark, task=self.task, queue=self.queue, args=args, kwargs=kwargs, is_foreign=self.may_be_foreign(runtime),
            telemetry=runtime.telemetry, trace=self.trace,
        )  # fmt: skip

    def may_be_foreign(self, runtime: Runtime) -> bool:
        """Whether workers without the extension have the task: it is an existing one of the application."""
        entry = runtime.registry.find(self.target)
        return self.task != self.target or (isinstance(entry, FunctionCelery) and entry.canvas is None)


def read_activity(blob: bytes) -> Activity | None:
    """An open command as an activity; None when it is something else."""
    return Activity(blob) if blob[:3] == b"\x99\xa1a" else None


class Effects:
    """Collects what the commands of one step set off.

    Args:
        runtime: Of this process.
        session: The run.
        lease: Its time is the time of the step.

    Attributes:
        time_ms: Time of the input at hand; whoever applies inputs carries it on.
        locals: Local activities that the commands called.
    """

    def __init__(self, runtime: Runtime, session: Session, lease: Lease) -> None:
        self._runtime = runtime
        self._session = session
        self._lease = lease
        self.time_ms = lease.time_ms
        self.locals = LocalCalls(runtime)
        self.ops: list[Sequence[Any]] = []
        self.sends: list[Callable[[Producer], object]] = []
        self.outbox: list[tuple[str, bytes]] = []
        self.ending = ""
        self.following = b""

    def input_applied(self, item: bytes) -> None:
        """Note that an input has been applied: the command it answers waits no more."""
        code, *rest = msgpack.unpackb(_without_length(item), raw=False, strict_map_key=False)
        if code in (
            Code.ACTIVITY_COMPLETED, Code.ACTIVITY_FAILED, Code.TIMER_FIRED, Code.OPERATION_DONE, Code.CHILD_ENDED,
            Code.CHILD_START_FAILED,
        ):  # fmt: skip
            self._shut(int(rest[0]))

    def number_of(self, item: bytes) -> int:
        """The command that an input answers."""
        return int(msgpack.unpackb(_without_length(item), raw=False, strict_map_key=False)[1])

    def command(self, event: bytes) -> None:
        """Take in one command."""
        code, *rest = msgpack.unpackb(event, raw=False, strict_map_key=False)
        handler = _HANDLERS.get(code)
        if handler is None:
            return
        session = self._session
        find_target(self._runtime, session.identity, code, rest)
        refused = refused_command(self._runtime, session.identity, code, rest, session.pid)
        if refused is not None:
            self.ops.append(["input", refused])
        else:
            handler(self, *rest)

    def answer(self, update_id: str, answer: bytes, *, refused: str = "") -> None:
        """Keep what the sender of an update is told, and wake it.

        Args:
            update_id: Of the update.
            answer: As :func:`orchestration.store.updates.encode_answer` makes it, or ``ACCEPTED``.
            refused: Counter that it goes to when it was refused.
        """
        self.ops.append(["answer", update_id, answer, refused])
        if answer != ACCEPTED:
            self.tell(update_id)

    def tell(self, text: str) -> None:
        """Wake those who wait outside for news of the run."""
        store = self._runtime.store(self._session.namespace)
        self.ops.append(["tell", store.updates.told_channel(self._lease.run_id), text])

    def pushes(self) -> Pushes:
        """The messages, for the commit; empty when they have to be published after it."""
        return self._runtime.messages.pushes(*self.sends)

    def _shut(self, seq: int, how: str = "answered") -> None:
        self._session.in_flight.discard(seq)
        self.ops.append(["shut", str(seq), how])

    def _out(self, name: str, content: Sequence[Any]) -> None:
        entry: bytes = msgpack.packb(list(content))
        self.outbox.append((name, entry))
        self.ops.append(["out", name, entry])

    def _schedule_activity(self, seq: int, target: str, args: bytes, options: dict[str, Any]) -> None:
        registry, session = self._runtime.registry, self._session
        entry = registry.find(target)
        own_queue = options.get("task_queue") or entry_options(getattr(entry, "options", {})).get("task_queue")
        what = "" if entry is not None or own_queue else "is no entry here"
        if isinstance(entry, WorkflowLua):
            what = "is a workflow, start it with process.spawn"
        elif isinstance(entry, ProcessLua | ProcessPython) and not entry.default_host:
            what = "is a process without a default_host"
        if what:
            failure = payload.encode_failure(
                f"no handler registered for target: {target} {what}", kind="NotFound", retryable=True,
                details={"target": target},
            )  # fmt: skip
            self.ops.append(["input", encode_input(Code.ACTIVITY_FAILED, seq, failure)])
            return
        if entry is not None:
            options = {**entry_options(getattr(entry, "options", {})), **options}
        is_celery = isinstance(entry, FunctionCelery) and entry.canvas is None
        task = entry.task_name if isinstance(entry, FunctionCelery) else target
        if isinstance(entry, FunctionCelery) and entry.kwargs:
            options = {**options, "kwargs": True}
        queue = own_queue or (registry.task_queue(target) if entry is not None else None)
        if queue is None:
            queue = "" if is_celery else session.queue
        has_budget = self._runtime.settings.local_activity_budget_ms > 0
        is_local = bool(options.get("local")) and has_budget and entry is not None and task in self._runtime.app.tasks
        is_local = is_local and not (isinstance(entry, FunctionCelery) and entry.canvas)  # it ends elsewhere
        token = local_token(session.run_id, seq, target, args) if is_local else os.urandom(4).hex()
        context = {**session.context, **options.pop("ctx", {})}
        options = {**options, **Identity.of(options, session.identity).fields()}
        options.pop("asks", None)
        self._trace(options, "activity", seq)
        blob = Activity.encode(
            target=target, task=task, queue=queue, args=args, options=options, scheduled_ms=self.time_ms,
            key=idempotency_key(session.run_id, seq, token), context=context,
        )  # fmt: skip
        if is_local:
            self.locals.add(self._local_call(seq, blob, token))
        else:
            self._dispatch(seq, blob, token)

    def _trace(self, options: dict[str, Any], *what: object) -> None:
        """Note the span of a command for those who work on it; without traces there is none."""
        telemetry, session = self._runtime.telemetry, self._session
        options.pop("trace", None)  # nothing that code could have said
        if telemetry is not None and (trace := telemetry.below(session.run_id, session.facts.trace, *what)):
            options["trace"] = trace

    def _local_call(self, seq: int, blob: bytes, token: str) -> LocalCall:
        activity, session = Activity(blob), self._session
        attempt = AttemptId(self._lease.run_id, seq, 1, token)
        mark = activity.mark(self._runtime, session.namespace, attempt, workflow=self._workflow)
        return LocalCall(
            self._runtime, mark, blob=blob, options=activity.options, args=activity.args, task=activity.task,
            scheduled_ms=self.time_ms,
        )  # fmt: skip

    @property
    def _workflow(self) -> tuple[str, str, str]:
        return (self._session.workflow_id, self._session.workflow_type, self._session.queue)

    def _dispatch(self, seq: int, blob: bytes, token: str) -> None:
        """Open an activity and send the message of its first attempt."""
        session, activity = self._session, Activity(blob)
        if refused := self._runtime.messages.refusal(activity.task, activity.queue):
            failure = payload.encode_failure(
                f"activity {activity.target} cannot be sent: {refused}", kind="NotFound", retryable=False,
                details={"target": activity.target, "task": activity.task, "queue": activity.queue},
            )  # fmt: skip
            self.ops.append(["input", encode_input(Code.ACTIVITY_FAILED, seq, failure)])
            return
        member = f"{session.run_id}/{seq}"
        self.ops += [["open", str(seq), blob], ["open", f"{seq}:s", first_state(token)], ["sent", member]]
        self._bound(activity, member, "start", "whole")
        session.in_flight.add(seq)
        attempt = AttemptId(self._lease.run_id, seq, 1, token)
        self.sends.append(activity.send(self._runtime, session.namespace, attempt, workflow=self._workflow))
        if not self._runtime.messages.atomic:
            self._out(f"a/{member}/1", ["attempt", session.namespace, session.run_id, seq, 1, token])

    def _bound(self, activity: Activity, member: str, *kinds: str) -> None:
        """Set deadlines that count from when the activity was called."""
        for kind in kinds:
            limit_ms = int(activity.options.get(_WHOLE[kind]) or 0)
            if limit_ms:
                self.ops.append(["timer", f"{member}/{kind}", activity.scheduled_ms + limit_ms])

    def adopt(self, call: LocalCall, now_ms: int) -> None:
        """Make an ordinary activity of a local one that has no answer when the step is written.

        Args:
            call: Not begun: its message is sent. Waiting for its next attempt: that is an ordinary one. Else its body
                runs here: the attempt is claimed by this process.
            now_ms: Redis' time.
        """
        session, seq, attempt = self._session, call.seq, call.mark.attempt
        if not call.begun and attempt.attempt == 1:
            self._dispatch(seq, call.blob, attempt.token)
            return
        member, activity = f"{session.run_id}/{seq}", Activity(call.blob)
        session.in_flight.add(seq)
        self.ops.append(["open", str(seq), call.blob])
        self._bound(activity, member, "whole")
        if call.is_asked_to_stop:
            self.ops.append(["open", f"{seq}:c", str(now_ms)])
        if call.details:
            self.ops.append(["open", f"{seq}:h", call.details])
        if call.failure is not None:
            self.ops.append(["open", f"{seq}:e", payload.encode(call.failure)])
        if not call.begun:
            self._back_off(call, member, now_ms)
            return
        begun_ms = call.since_ms(call.begun)
        self.ops += [
            ["open", f"{seq}:s", claimed_state(attempt, self._runtime.owner, begun_ms)], ["claim", member],
            ["timer", f"{member}/close", begun_ms + call.mark.close_ms],
        ]  # fmt: skip
        if call.mark.beat_ms:
            self.ops.append(["timer", f"{member}/beat", call.since_ms(call.beaten) + call.mark.beat_ms])

    def _back_off(self, call: LocalCall, member: str, now_ms: int) -> None:
        """The next attempt of a local activity is too far away for the step."""
        due_ms = call.since_ms(call.due)
        self.ops += [
            ["open", f"{call.seq}:s", backoff_state(call.mark.attempt, due_ms)], ["timer", f"{member}/retry", due_ms],
        ]  # fmt: skip
        s, messages = self._session, self._runtime.messages
        if due_ms - now_ms <= self._runtime.settings.timer_horizon_ms and messages.holds_delays:
            delay_ms = max(due_ms - now_ms, 1)
            send = messages.resume(
                s.namespace, s.run_id, queue=s.queue, seq=-call.seq, delay_ms=delay_ms, about=s.about
            )
            self.sends.append(send)

    def _start_timer(self, seq: int, delay_ms: int) -> None:
        session, messages = self._session, self._runtime.messages
        due = self.time_ms + delay_ms
        member = f"{session.run_id}/{seq}/timer"
        self.ops += [["open", str(seq), b"t"], ["timer", member, due]]
        settings = self._runtime.settings
        if delay_ms > settings.timer_horizon_ms or not settings.eta_tasks_max or not messages.holds_delays:
            return
        session.in_flight.add(seq)
        send = messages.resume(
            session.namespace, session.run_id, queue=session.queue, seq=seq, delay_ms=delay_ms, about=session.about
        )
        if messages.atomic:
            self.ops.append(["eta", member, due, list(messages.pushes(send).commands[0])])
        else:
            self.sends.append(send)

    def _cancel_activity(self, seq: int, wait: bool = False) -> None:
        if wait:
            if not self.locals.ask_to_stop(seq):
                self.ops.append(["cancel", str(seq), canceled_item(seq)])
        elif self.locals.drop(seq):
            self._session.cancelled.add(seq)
        else:
            self._cancel(seq)

    def _cancel(self, seq: int) -> None:
        self._session.cancelled.add(seq)
        self._shut(seq, "cancelled")

    def _send_signal(self, seq: int, pid: str, topic: str, args: bytes) -> None:
        s = self._session
        self.ops.append(["open", str(seq), b"o"])
        self._out(f"m/{s.run_id}/{seq}", ["signal", s.namespace, s.run_id, seq, s.pid, pid, topic, args])

    def _cancel_external(self, seq: int, pid: str, reason: str, terminate: bool) -> None:
        s = self._session
        self.ops.append(["open", str(seq), b"o"])
        self._out(f"x/{s.run_id}/{seq}", ["cancel", s.namespace, s.run_id, seq, s.pid, pid, reason, terminate])

    def _start_child(self, seq: int, workflow_type: str, host: str, args: bytes, options: dict[str, Any]) -> None:
        s = self._session
        context = {**s.context, **options.get("ctx", {})}
        options = {**options, **Identity.of(options, s.identity).fields()}
        self._trace(options, "child", seq)
        self.ops.append(["open", str(seq), open_child(s, seq, options)])
        self._out(
            f"k/{s.run_id}/{seq}",
            ["child", s.namespace, s.run_id, seq, s.pid, s.queue, workflow_type, host, args, options, context],
        )

    def _upsert(self, _seq: int, search: dict[str, Any] | None, memo: dict[str, Any] | None) -> None:
        self.ops += [attribute_op(name, value) for name, value in (search or {}).items()]
        self.ops += [["extra", f"memo:{name}", payload.encode(value)] for name, value in (memo or {}).items()]

    def _update_done(self, update_id: str, ok: bool, value: bytes) -> None:
        self.answer(update_id, encode_answer(UpdateStatus.DONE if ok else UpdateStatus.FAILED, value))

    def _complete(self, _result: bytes) -> None:
        self._end("completed", None)

    def _fail(self, failure: bytes) -> None:
        facts = payload.decode_failure(failure)
        self._end("cancelled" if facts.get("kind") == "Canceled" else "failed", facts)

    def _continue_as_new(self, workflow_type: str | None, args: bytes, options: dict[str, Any]) -> None:
        session = self._session
        store = self._runtime.store(session.namespace)
        successor = continued(
            self._runtime, store, session.facts, workflow_type=workflow_type, args=args, options=options
        )
        if successor is None:  # no workflow of this type is known here: the run has failed
            self._close("failed")
        else:
            self._follow("continued_as_new", successor)

    def _end(self, status: str, failure: Mapping[str, Any] | None) -> None:
        session, options = self._session, self._session.facts.options
        if options.retry is None and not options.cron:
            self._close(status)
            return
        store = self._runtime.store(session.namespace)
        successor = after_end(
            self._runtime, store, session.facts, args=session.args, failure=failure, now_ms=self.time_ms
        )
        if successor is None:
            self._close(status)
        else:
            self._follow(status, successor)

    def _follow(self, status: str, successor: Successor) -> None:
        """The run ends, and another takes its place: whoever waits goes on waiting."""
        self.ending, self.following = status, successor.packed
        if successor.send is not None and not self._runtime.messages.atomic:
            self.sends.append(successor.send)

    def _close(self, status: str) -> None:
        self.ending = status
        self._out(f"c/{self._session.run_id}", ["complete", self._session.namespace, self._session.run_id])


def _without_length(item: bytes) -> bytes:
    """An input as stored announces one element more than it has, for its time."""
    return bytes([item[0] - 1]) + item[1:]


_HANDLERS: dict[int, Callable[..., None]] = {
    Code.SCHEDULE_ACTIVITY: Effects._schedule_activity,
    Code.START_TIMER: Effects._start_timer,
    Code.CANCEL_TIMER: Effects._cancel,
    Code.CANCEL_ACTIVITY: Effects._cancel_activity,
    Code.SEND_SIGNAL: Effects._send_signal,
    Code.CANCEL_EXTERNAL: Effects._cancel_external,
    Code.START_CHILD: Effects._start_child,
    Code.UPSERT_ATTRIBUTES: Effects._upsert,
    Code.UPDATE_DONE: Effects._update_done,
    Code.COMPLETE: Effects._complete,
    Code.FAIL: Effects._fail,
    Code.CONTINUE_AS_NEW: Effects._continue_as_new,
}
