"""Local activities: bodies that run beside the step that calls them, without a message of their own.

A step that calls one waits for it, up to a budget, and writes its result with the rest of the step. What outlives the
budget becomes an ordinary attempt that this process has claimed: the step is written without its result, and the
result is reported like any other when the body ends. A body that has begun is never begun again, unless the process
dies or the step cannot be written.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import states
from celery.app.trace import TraceInfo, build_tracer, trace_ok_t
from celery.exceptions import SoftTimeLimitExceeded

from orchestration.activity import Cancelled, Running, _running
from orchestration.core import payload
from orchestration.core.call_options import split_arguments
from orchestration.core.retry import retry_delay_ms
from orchestration.store.attempts import AttemptId
from orchestration.tasks.messages import AttemptMark
from orchestration.tasks.outcomes import (
    Outcome,
    activity_info,
    canceled_item,
    completed_item,
    failed_item,
    final_failure,
    outcome_of,
)
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.tokens import encode_token

__all__ = ["LocalCall", "LocalCalls", "local_token"]

_MOST_AT_ONCE = 8
_MOST_BYTES = 4 * 1024 * 1024
"""Results of one step, about: a commit carries them all in one call of Redis."""


def local_token(run_id: str, seq: int, target: str, args: bytes) -> str:
    """Token of a local call: the same when the step is made again after a crash, so that its idempotency key is too."""
    named = f"{run_id}/{seq}/{target}/".encode() + args
    return hashlib.blake2s(named, digest_size=8).hexdigest()


class LocalCall:
    """One local activity; each attempt runs in a thread of its own.

    Args:
        runtime: Of this process.
        mark: Its first attempt.
        blob: The activity as a commit stores it.
        options: Of the call.
        args: Encoded arguments.
        task: Name of the Celery task that is its body.
        scheduled_ms: When it was called.
    """

    def __init__(
        self, runtime: Runtime, mark: AttemptMark, *, blob: bytes, options: dict[str, Any], args: bytes, task: str,
        scheduled_ms: int,
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._args = args
        self._task = task
        self._lock = threading.Lock()
        self._sink: queue.SimpleQueue[LocalCall] | None = None
        self.mark = mark
        self.blob = blob
        self.options = options
        self.scheduled_ms = scheduled_ms
        self._clock = (scheduled_ms, time.monotonic())
        self.due = 0.0
        self.begun = 0.0
        self.beaten = 0.0
        self.is_running = False
        self.details = b""
        self.failure: dict[str, Any] | None = None
        self.outcome: Outcome | None = None
        self.unwanted = ""
        self.is_asked_to_stop = False
        self.committed = threading.Event()

    @property
    def seq(self) -> int:
        """Number of the call in its run."""
        return self.mark.attempt.seq

    def since_ms(self, moment: float) -> int:
        """A moment of the monotonic clock as Redis' time, carried on since the call."""
        return self._clock[0] + int((moment - self._clock[1]) * 1000)

    def now_ms(self) -> int:
        """Redis' time now, at most."""
        return self.since_ms(time.monotonic())

    def start(self, sink: queue.SimpleQueue[LocalCall]) -> None:
        """Run the body of the next attempt; the call puts itself into the queue when that has ended."""
        self._sink, self.outcome, self.is_running = sink, None, True
        self.begun = self.beaten = time.monotonic()
        threading.Thread(target=self._run, name=f"local {self.mark.target}", daemon=True).start()

    def try_again(self, failure: dict[str, Any], delay_ms: int) -> None:
        """Take the next attempt, after a pause."""
        a = self.mark.attempt
        self.failure, self.outcome, self.begun = failure, None, 0.0
        self.due = time.monotonic() + delay_ms / 1000
        self.mark = self.mark.of(AttemptId(a.run_id, a.seq, a.attempt + 1, a.token))

    def redirect(self, sink: queue.SimpleQueue[LocalCall]) -> None:
        """From now on, another queue is told that the body has ended."""
        with self._lock:
            if self.is_running:
                self._sink = sink
            else:
                sink.put(self)

    def _run(self) -> None:
        token = _running.set(self._as_running())
        telemetry = self._runtime.telemetry
        try:
            trace = str(self.options.get("trace") or "")
            with (
                telemetry.below_span(trace) if telemetry else nullcontext(),
                self._runtime.around_code("local"),
            ):
                traced = self._trace()
            outcome = outcome_of(traced, self.mark.target, self._runtime.settings.value_limit_bytes)
        except BaseException as error:  # noqa: BLE001 - the thread ends here; what ended the body is its outcome
            traced = trace_ok_t(ExceptionInfo(internal=True), TraceInfo(states.FAILURE, error), 0.0, "")
            outcome = outcome_of(traced, self.mark.target, self._runtime.settings.value_limit_bytes)
        finally:
            _running.reset(token)
        if telemetry is not None:
            name, labels = "orchestration_activity_duration_seconds", (self.mark.namespace, self.mark.target)
            telemetry.time(name, time.monotonic() - self.begun, *labels, outcome.kind)
        with self._lock:
            self.outcome, self.is_running = outcome, False
            assert self._sink is not None
            self._sink.put(self)

    def _trace(self) -> Any:
        """Run the task as Celery runs it, signals and handlers included; its own retries go on in place."""
        app = self._runtime.app
        task = app.tasks[self._task]
        trace = build_tracer(task.name, task, loader=app.loader, eager=True, propagate=False, app=app)
        task_id, retries = str(uuid.uuid4()), 0
        args, kwargs = split_arguments(payload.decode(self._args), keywords=bool(self.options.get("kwargs")))
        while True:
            request = {
                "id": task_id, "task": task.name, "root_id": self.mark.attempt.run_id, "retries": retries,
                "parent_id": self.mark.attempt.run_id, "is_eager": True, "ignore_result": True, "hostname": "local",
                "delivery_info": {"is_eager": True, "routing_key": self.mark.queue, "redelivered": False},
            }  # fmt: skip
            traced = trace(task_id, args, kwargs, request)
            if traced.info is None or traced.info.state != states.RETRY:
                return traced
            when = getattr(traced.info.retval, "when", None)
            pause = when if isinstance(when, (int, float)) else (when - app.now()).total_seconds() if when else 0
            time.sleep(max(pause, 0))
            retries += 1

    def _as_running(self) -> Running:
        mark = self.mark
        store, limit = self._runtime.store(mark.namespace), self._runtime.settings.payload_bytes

        def look(value: Any = None, *, beats: bool = False) -> str:
            details = b"" if value is None else payload.encode(value, limit=limit)
            if self.unwanted:
                return self.unwanted
            if self.committed.is_set():
                beat_ms = mark.beat_ms if beats else 0
                return store.attempts.heartbeat(mark.attempt, details=details, beat_ms=beat_ms)
            if beats:
                self.beaten, self.details = time.monotonic(), details or self.details
            return "cancelled" if self.is_asked_to_stop else ""

        return Running(activity_info(mark, self.details), lambda value: look(value, beats=True), look, self._token)

    def _token(self) -> str:
        """Name the attempt; what it names must be in the store by then, so the step is written without the result."""
        if not self.committed.is_set():
            with self._lock:
                assert self._sink is not None
                self._sink.put(self)  # not ended: see :meth:`LocalCalls._settle`
            self.committed.wait()
        if self.unwanted:
            raise Cancelled(f"this attempt is not wanted: {self.unwanted}", kind="Canceled", retryable=False)
        return encode_token(self.mark.namespace, self.mark.attempt)

    def give_up(self, why: str) -> None:
        """Nobody wants the outcome."""
        self.unwanted = self.unwanted or why
        self.committed.set()


class LocalCalls:
    """The local activities of one step.

    Args:
        runtime: Of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        settings = runtime.settings
        self._lease_s = settings.lease_ms / 1000
        self._budget_s = min(settings.local_activity_budget_ms / 1000, self._lease_s / 2)
        self._deadline = 0.0
        self._spent = False
        self._bytes = 0
        self._open: dict[int, LocalCall] = {}
        self._ended: queue.SimpleQueue[LocalCall] = queue.SimpleQueue()
        self.expired = False

    def begin(self, leased: float) -> None:
        """Let bodies run.

        Args:
            leased: When the lease was got, on the monotonic clock. It is short; a third of it is for the commit.
        """
        self._deadline = leased + self._lease_s * 2 / 3

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, call: LocalCall) -> None:
        """Take in a call; it begins with the next :meth:`answer`."""
        self._open[call.seq] = call

    def drop(self, seq: int) -> bool:
        """The code has taken a call back: its outcome is not waited for. False when there is none of this number."""
        call = self._open.pop(seq, None)
        if call is not None:
            call.give_up("cancelled")
        return call is not None

    def ask_to_stop(self, seq: int) -> bool:
        """The code has taken a call back, and waits for how it ends. False when there is none of this number."""
        call = self._open.get(seq)
        if call is not None:
            call.is_asked_to_stop = True
        return call is not None

    def answer(self, now_ms: Callable[[], int]) -> bytes | None:
        """Wait for the next result or final failure, as an input without its time.

        Args:
            now_ms: Redis' time, carried on.

        Returns:
            None when there is nothing to wait for, or the budget is used up; see :meth:`left`.
        """
        try:
            while self._open and not self._spent:
                stopped = self._stopped()
                if stopped is not None:
                    return stopped
                pause = self._start_due()
                if pause <= 0 or self._bytes > _MOST_BYTES:
                    break
                try:
                    call = self._ended.get(timeout=pause)
                except queue.Empty:
                    continue
                if self._open.get(call.seq) is not call:
                    continue
                item = self._settle(call, now_ms())
                if item is not None:
                    del self._open[call.seq]
                    self._bytes += len(item)
                    return item
        except SoftTimeLimitExceeded:  # comes once: write what there is
            self.expired = True
        self._spent = self._spent or bool(self._open)
        return None

    def _start_due(self) -> float:
        """Begin what can begin; answers for how many seconds to wait at most."""
        now = time.monotonic()
        running = sum(call.is_running or call.outcome is not None for call in self._open.values())
        wake = []
        for call in self._open.values():
            if call.is_running or call.outcome is not None:
                continue
            if call.due > now:
                wake.append(call.due)
            elif running < _MOST_AT_ONCE:
                running += 1
                self._deadline = min(self._deadline, now + self._budget_s)
                self._budget_s = float("inf")  # it counts from the first body on
                whole_ms = int(call.options.get("schedule_to_close_timeout_ms") or 0)
                for limit_ms in (call.mark.close_ms, call.mark.beat_ms, whole_ms):
                    if limit_ms:
                        self._deadline = min(self._deadline, now + limit_ms / 1000)
                call.start(self._ended)
        soonest = min(wake, default=self._deadline)
        if not running and soonest >= self._deadline:
            return 0.0  # nothing will come in time
        return min(self._deadline, soonest) - now

    def _stopped(self) -> bytes | None:
        """The answer of a call that is asked to stop while no body of it runs."""
        for call in self._open.values():
            if call.is_asked_to_stop and not call.is_running and call.outcome is None:
                del self._open[call.seq]
                return canceled_item(call.seq)
        return None

    def _settle(self, call: LocalCall, now_ms: int) -> bytes | None:
        outcome, a = call.outcome, call.mark.attempt
        if outcome is None or outcome.kind == "later":
            self._spent = True
            return None
        if outcome.kind == "completed":
            return completed_item(a, outcome.result, local=True)
        elapsed = max(now_ms - call.scheduled_ms, 0)
        delay = retry_delay_ms(call.options, attempt=a.attempt, failure=outcome.failure, elapsed_ms=elapsed)
        if delay is None or call.is_asked_to_stop:
            return failed_item(a, final_failure(outcome.failure), call.options)
        call.try_again(outcome.failure, delay)
        return None

    def left(self) -> list[LocalCall]:
        """The calls that have no answer yet, oldest first."""
        return list(self._open.values())

    def give_up(self) -> None:
        """The step is not written: whatever still runs is wanted by nobody."""
        for call in self._open.values():
            call.give_up("the step that called it could not be written")
        self._open.clear()
