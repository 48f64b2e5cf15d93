"""Attempts that nobody claims: their message waits, or is lost, or a worker without the extension has taken it.

*Unclaimed is not lost.* A message is sent again only on evidence that it is lost: its queue is empty, or a message sent
later to the same queue has been claimed. Where a worker without the extension may have taken it, it is never sent
again: its result is looked for, and its start-to-close time begins with the same evidence.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from celery import states

from orchestration.store.attempts import AttemptId
from orchestration.store.store import Store
from orchestration.tasks.dispatch import dispatch_attempt, read_open
from orchestration.tasks.effects import Activity, read_activity
from orchestration.tasks.foreign.consumers import Consumers
from orchestration.tasks.foreign.reports import Reports
from orchestration.tasks.foreign.results import ResultsAwayError, StoredResult
from orchestration.tasks.messages import attempt_task_id
from orchestration.tasks.moments import growing_pause_s
from orchestration.tasks.runtime import Runtime
from orchestration.types import RunId

__all__ = ["Unclaimed"]

logger = logging.getLogger(__name__)

_LONG_MS = 60_000
"""A queue that never runs dry shows nothing. After a while: of two messages of an attempt one is claimed."""

_NO_SIGN_MS = 600_000
"""A queue that never runs dry, and from which no later attempt is reported: then the time of an attempt begins."""

_LONGEST_PAUSE_S = 60.0
_LONGEST_LOOK_S = 15.0
_DECLARE_EVERY_S = 30.0
_MOST_REMEMBERED = 10_000
_IN_HANDS_MS = 5_000
"""A message that is in no queue may wait for a slot in a worker that has taken it; or that worker is dead."""

_NOTHING = StoredResult(states.PENDING, None)

Guarded = Callable[..., None]


@dataclass(slots=True)
class _Known:
    """What is remembered of an attempt that a worker without the extension may have.

    Attributes:
        attempt: The attempt.
        task: Name of its Celery task.
        task_id: Its Celery task id.
        reports_to: Queue of its workflow.
        look_at: When to look for its result again.
        is_timed: Its start-to-close time has begun.
    """

    attempt: AttemptId
    task: str
    task_id: str
    reports_to: str = ""
    look_at: float = 0.0
    is_timed: bool = False


class Unclaimed:
    """Looks after the attempts that a sweep has found.

    Args:
        runtime: Of this process.
        reports: Takes in the results that are found.
        consumers: Who takes tasks from which queue.
    """

    def __init__(self, runtime: Runtime, reports: Reports, consumers: Consumers) -> None:
        self._runtime = runtime
        self._reports = reports
        self._consumers = consumers
        self._resent: dict[str, tuple[float, int]] = {}
        self._lengths: dict[str, int] = {}
        self._declared: dict[str, float] = {}
        self._known: dict[tuple[str, int], _Known] = {}

    def begin_turn(self) -> None:
        """A sweep begins: what queues hold is asked anew."""
        self._lengths.clear()
        self._consumers.say()

    def look(
        self, namespace: str, store: Store, unclaimed: Iterable[tuple[str, int]], now_ms: int, *, guarded: Guarded
    ) -> None:
        """Look after attempts.

        Args:
            namespace: Of their runs.
            store: Of the namespace.
            unclaimed: Run and number of each, and when its message was sent.
            now_ms: Redis' time.
            guarded: Does one thing of a sweep: what fails is left to the next one.
        """
        if len(self._known) > _MOST_REMEMBERED:
            self._known.clear()
        now, foreign = time.monotonic(), list[tuple[str, int]]()
        for member, sent_ms in unclaimed:
            known = self._known.get((member, sent_ms))
            if known is None:
                guarded("attempt", member, self._first_look, namespace, store, member, sent_ms, now_ms)
                known = self._known.get((member, sent_ms))
            if known is not None and known.look_at <= now:
                known.look_at = now + min(max((now_ms - sent_ms) / 4000, 0.9), _LONGEST_LOOK_S)
                foreign.append((member, sent_ms))
        if not foreign:
            return
        for queue in {self._known[key].reports_to for key in foreign}:
            guarded("queue", queue, self._declare, queue, now)
        found = self._reports.results.read_many({self._known[key].task_id: self._known[key].task for key in foreign})
        for key in foreign:
            guarded("attempt", key[0], self._follow, namespace, store, key, found, now_ms)

    def _first_look(self, namespace: str, store: Store, member: str, sent_ms: int, now_ms: int) -> None:
        opened = self._open(store, member)
        if opened is None:
            return
        attempt, activity, _ = opened
        if activity.may_be_foreign(self._runtime):
            records = store.runs.records([attempt.run_id])
            queue = records[0].fields.get("queue", "") if records else ""
            self._known[member, sent_ms] = _Known(attempt, activity.task, attempt_task_id(attempt), queue)
            self._consumers.whose("")  # so that it is known when it matters
        elif now_ms - sent_ms >= _LONG_MS or self._is_gone(store, attempt, activity, sent_ms, now_ms):
            self._resend(namespace, store, member)

    def _open(self, store: Store, member: str) -> tuple[AttemptId, Activity, bytes] | None:
        """The attempt that is scheduled; None, and forgotten, when there is none any more."""
        run, _, number = member.partition("/")
        run_id, seq = RunId(run), int(number)
        found = read_open(self._runtime, store, run_id, seq)
        activity = read_activity(found[0]) if found else None
        if found is None or activity is None or found[1].state != "scheduled":
            store.timers.forget(member)
            return None
        return AttemptId(run_id, seq, found[1].attempt, found[1].token), activity, found[0]

    def _follow(
        self, namespace: str, store: Store, key: tuple[str, int], found: Mapping[str, StoredResult], now_ms: int
    ) -> None:
        """Go on with an attempt that a worker without the extension may have."""
        (member, sent_ms), known = key, self._known[key]
        stored = found.get(known.task_id, _NOTHING)
        if stored.is_ready:
            del self._known[key]
            delivery = self._reports.found(namespace, known.attempt, stored)
            facts = {"run_id": known.attempt.run_id, "seq": known.attempt.seq, "attempt": known.attempt.attempt}
            logger.info("attempt reported by its result: %s", delivery.status, extra=facts)
            return
        opened = self._open(store, member)
        if opened is None or opened[0] != known.attempt:
            del self._known[key]
            return
        attempt, activity, _ = opened
        if stored.state in (states.STARTED, states.RETRY):
            self._begin(store, known, activity)
            return
        waited, is_gone = now_ms - sent_ms, self._is_gone(store, attempt, activity, sent_ms, now_ms)
        if not (is_gone or waited >= _LONG_MS):
            return
        whose = self._consumers.whose(self._runtime.messages.destination(activity.task, activity.queue)[0])
        if whose == "ours":
            self._resend(namespace, store, member)
        elif whose and (is_gone or waited >= _NO_SIGN_MS):
            self._begin(store, known, activity)

    def _declare(self, queue: str, now: float) -> None:
        """Declare where reports go, now and then: a broker that was flushed has forgotten, and no one is told."""
        if now - self._declared.get(queue, float("-inf")) > _DECLARE_EVERY_S:
            self._declared[queue] = now
            self._runtime.messages.declare(queue or self._runtime.app.conf.task_default_queue)

    def _begin(self, store: Store, known: _Known, activity: Activity) -> None:
        if not known.is_timed:
            close_ms = activity.close_ms(self._runtime.settings.start_to_close_ms)
            store.foreign.await_report(known.attempt, close_ms=close_ms)
            known.is_timed = True

    def has_begun(self, namespace: str, store: Store, attempt: AttemptId, activity: Activity) -> bool | None:
        """Whether a worker without the extension has taken an attempt whose schedule-to-start time is over.

        Its start-to-close time begins then. None: it is not known yet.
        """
        del namespace
        if not activity.may_be_foreign(self._runtime):
            return False
        known = _Known(attempt, activity.task, attempt_task_id(attempt))
        try:
            stored = self._reports.results.read(known.task, known.task_id)
        except ResultsAwayError as error:
            logger.warning("%s", error)
            return None
        if stored.state == states.PENDING:
            name, _ = self._runtime.messages.destination(activity.task, activity.queue)
            if self._queue_length(name) != 0:
                return False
            whose = self._consumers.whose(name)
            if whose != "foreign":
                return False if whose else None
        self._begin(store, known, activity)
        return True

    def forget(self, leftovers: Iterable[str]) -> None:
        """Delete results that have been reported; each is task id and name of the task."""
        pairs = [leftover.partition(" ") for leftover in leftovers]
        self._reports.results.forget({task_id: task for task_id, _, task in pairs})

    def _is_gone(self, store: Store, attempt: AttemptId, activity: Activity, sent_ms: int, now_ms: int) -> bool:
        """Whether the message of an attempt is in its queue no more, as far as can be seen."""
        name, key = self._runtime.messages.destination(activity.task, activity.queue)
        if store.attempts.frontier(attempt.run_id, key) > sent_ms + 1000:  # one sent later has been claimed
            return True
        return now_ms - sent_ms >= _IN_HANDS_MS and self._queue_length(name) == 0

    def _resend(self, namespace: str, store: Store, member: str) -> None:
        opened = self._open(store, member)
        records = store.runs.records([RunId(member.partition("/")[0])])
        if opened is None or not records:
            return
        attempt, _, blob = opened
        which = f"{member}/{attempt.attempt}"
        last, count = self._resent.get(which, (0.0, 0))
        if time.monotonic() - last < growing_pause_s(2.0, count, longest_s=_LONGEST_PAUSE_S):
            return
        if len(self._resent) > _MOST_REMEMBERED:
            self._resent.clear()
        self._resent[which] = (time.monotonic(), count + 1)
        fields = records[0].fields
        workflow = (fields["id"], fields["type"], fields.get("queue", ""))
        answer = dispatch_attempt(
            self._runtime, namespace, store, attempt, activity_blob=blob, state="scheduled", workflow=workflow
        )
        if self._runtime.telemetry is not None:
            self._runtime.telemetry.count("orchestration_sweep_findings_total", namespace, "resend")
        logger.warning(
            "attempt sent again: its message seems lost",
            extra={"run_id": attempt.run_id, "seq": attempt.seq, "attempt": attempt.attempt, "answer": answer.status},
        )

    def _queue_length(self, queue: str) -> int:
        """Messages waiting in a queue; 0 also when the broker has no such queue any more, -1 when it is not known."""
        if not queue:
            return -1
        length = self._lengths.get(queue)  # which the sweep may clear at any moment
        if length is None:
            with self._runtime.app.connection_for_write() as connection:
                try:
                    channel = connection.default_channel
                    length = int(channel.queue_declare(queue=queue, passive=True).message_count)
                except connection.channel_errors:
                    length = 0
                except self._runtime.messages.broker_errors:
                    length = -1
            self._lengths[queue] = length
        return length
