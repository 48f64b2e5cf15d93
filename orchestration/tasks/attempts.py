"""Runs activity attempts: claimed before the body, reported after it, and the workflow advanced right there."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import states
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Ignore, SoftTimeLimitExceeded

from orchestration.activity import Running, _running
from orchestration.core import payload
from orchestration.core.retry import retry_delay_ms
from orchestration.errors import StoreError, StoreUnavailableError
from orchestration.faults import fault
from orchestration.store.attempts import AttemptId, AttemptState, Claim
from orchestration.store.results import Delivery, Pushes
from orchestration.tasks.effects import Activity, read_activity
from orchestration.tasks.engine import Engine
from orchestration.tasks.foreign.links import own_reports
from orchestration.tasks.local import LocalCall
from orchestration.tasks.messages import MARK, AttemptMark
from orchestration.tasks.moments import ms_until
from orchestration.tasks.outcomes import Outcome, activity_info, completed_item, failed_item, final_failure, outcome_of
from orchestration.tasks.presence import Presence
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.tokens import encode_token
from orchestration.telemetry.attempts import AttemptSeen

__all__ = ["Attempts", "Trace"]

logger = logging.getLogger(__name__)

Trace = Callable[..., Any]
"""Celery's tracer of a task: ``(uuid, args, kwargs, request) -> trace_ok_t``."""


class Attempts:
    """Runs the attempts that reach this process.

    Args:
        runtime: Of this process.
        engine: Advances the workflow afterwards.
        presence: Says that this process lives while it holds claims.
    """

    def __init__(self, runtime: Runtime, engine: Engine, presence: Presence) -> None:
        self._runtime = runtime
        self._engine = engine
        self._presence = presence
        engine.report_local = self.report_local

    def run(self, trace: Trace, uuid: str, args: Any, kwargs: Any, request: Any) -> Any:
        """Run the body of an attempt if it may run, report how it ended, and advance its workflow.

        Args:
            trace: Celery's own tracer of the task; everything that Celery does around a body stays as it is.
            uuid: Task id.
            args: Positional arguments.
            kwargs: Keyword arguments.
            request: Message headers and more; carries the mark.
        """
        mark = AttemptMark.from_header(request[MARK])
        store = self._runtime.store(mark.namespace)
        facts = mark.facts
        fault("before_claim")
        self._presence.hold(mark.namespace)
        try:
            queue = str((request.get("delivery_info") or {}).get("routing_key") or "")
            retries = int(request.get("retries") or 0)
            claim = store.attempts.claim(
                mark.attempt, owner=self._runtime.owner, nonce=os.urandom(8).hex(), close_ms=mark.close_ms,
                beat_ms=mark.beat_ms, queue=queue, retries=retries,
            )  # fmt: skip
            if not claim.granted:
                logger.info("attempt not run: %s", claim.why, extra=facts)
                self._count_dropped(mark.namespace, "claim")
                return _refused(claim.why)
            fault("after_claim")
            # Both are for workers without the extension: it is reported here.
            request["ignore_result"] = True
            request["callbacks"] = own_reports(request.get("callbacks"))
            with self._seen(mark, claim, queue, retries, request) as seen:
                begun = self._runtime.monotonic()
                token = _running.set(self._running(mark, claim.details))
                try:
                    traced = trace(uuid, args, kwargs, request)
                finally:
                    _running.reset(token)
                fault("after_body")
                # Redis' time, carried on by a clock that only runs forward: no host's clock decides.
                now_ms = claim.time_ms + int((self._runtime.monotonic() - begun) * 1000)
                outcome = outcome_of(traced, mark.target, self._runtime.settings.value_limit_bytes)
                if seen is not None:
                    seen.ended(outcome.kind, now_ms, str(outcome.failure.get("kind") or ""))
                try:
                    delivery = self._report(mark, outcome, now_ms, retries)
                except SoftTimeLimitExceeded:  # it comes once; the body has run, and a report can be repeated
                    delivery = self._report(mark, outcome, now_ms, retries)
                if seen is not None and delivery.status == "dropped":
                    seen.dropped(delivery.detail)
        finally:
            self._presence.release(mark.namespace)
        fault("after_report")
        self._follow(mark, delivery)
        return traced

    def _seen(
        self, mark: AttemptMark, claim: Claim, queue: str, retries: int, request: Any
    ) -> AbstractContextManager[AttemptSeen | None]:
        """What outsiders see of an attempt; nothing while telemetry is off."""
        telemetry = self._runtime.telemetry
        if telemetry is None:
            return nullcontext()
        return telemetry.attempt(
            request, namespace=mark.namespace, attempt=mark.attempt, retries=retries, target=mark.target,
            workflow_id=mark.workflow_id, workflow_type=mark.workflow_type, queue=queue, claim=claim,
        )  # fmt: skip

    def _count_dropped(self, namespace: str, where: str) -> None:
        if self._runtime.telemetry is not None:
            self._runtime.telemetry.count("orchestration_duplicates_dropped_total", namespace, where)

    def _running(self, mark: AttemptMark, details: bytes) -> Running:
        store, limit = self._runtime.store(mark.namespace), self._runtime.settings.payload_bytes

        def beat(value: Any) -> str:
            encoded = b"" if value is None else payload.encode(value, limit=limit)
            return store.attempts.heartbeat(mark.attempt, details=encoded, beat_ms=mark.beat_ms)

        def look() -> str:
            return store.attempts.heartbeat(mark.attempt, details=b"", beat_ms=0)

        return Running(activity_info(mark, details), beat, look, lambda: encode_token(mark.namespace, mark.attempt))

    def _report(self, mark: AttemptMark, outcome: Outcome, now_ms: int, retries: int = 0) -> Delivery:
        if outcome.kind == "completed":
            item = completed_item(mark.attempt, outcome.result)
            if self._runtime.serves(mark.queue) and self._engine.finish(mark.namespace, mark.attempt, item, now_ms):
                return Delivery("accepted")
            return self.settle(
                mark.namespace, mark.attempt, mark.queue, outcome="completed", item=item, about=mark.about
            )
        if outcome.kind == "waiting":
            return self._waiting(mark, outcome, retries)
        if outcome.kind == "later":
            return self.settle(mark.namespace, mark.attempt, mark.queue, outcome="external", item=b"")
        return self.fail(mark, outcome.failure)

    def _waiting(self, mark: AttemptMark, outcome: Outcome, retries: int) -> Delivery:
        """The task asked Celery to run it again: the same attempt goes on later, in another message."""
        delay_ms = ms_until(getattr(outcome.retry, "when", None), self._runtime.app)
        return self.settle(
            mark.namespace, mark.attempt, mark.queue, outcome="waiting", item=payload.encode(outcome.failure),
            delay_ms=delay_ms + mark.close_ms, states="claimed", retries=retries,
        )  # fmt: skip

    def report_local(self, call: LocalCall) -> None:
        """Report a local activity that has become an ordinary attempt of this process, and advance its workflow."""
        mark = call.mark
        assert call.outcome is not None  # the body has ended
        try:
            delivery = self._report(mark, call.outcome, call.now_ms())
        except SoftTimeLimitExceeded:
            delivery = self._report(mark, call.outcome, call.now_ms())
        finally:
            self._presence.release(mark.namespace)
        self._follow(mark, delivery)

    def _follow(self, mark: AttemptMark, delivery: Delivery) -> None:
        if delivery.status == "dropped":
            logger.info("report dropped: %s", delivery.detail, extra=mark.facts)
            self._count_dropped(mark.namespace, "report")
        with contextlib.suppress(StoreError):  # the lease runs out, the sweep gives the run to another
            self._engine.follow(mark.namespace, delivery)

    def fail(self, mark: AttemptMark, failure: dict[str, Any]) -> Delivery:
        """Report a failure of an attempt that this process ran: another attempt, or the end."""
        found = self._runtime.store(mark.namespace).attempts.read(mark.attempt.run_id, mark.attempt.seq)
        activity = read_activity(found[0]) if found else None
        if found is None or activity is None:
            return Delivery("dropped", "activity closed")
        return self.decide(mark.namespace, mark.attempt, mark.queue, activity, found[1], failure, claimed_by=None)

    def decide(
        self, namespace: str, attempt: AttemptId, queue: str, activity: Activity, state: AttemptState,
        failure: dict[str, Any], *, claimed_by: str | None, final: bool = False, states: str = "", timer: str = "",
        request_id: str = "",
    ) -> Delivery:  # fmt: skip
        """Settle a failed attempt as the retry policy says.

        Args:
            namespace: Of the run.
            attempt: The attempt.
            queue: The workflow's task queue.
            activity: As stored.
            state: Where it stands.
            failure: What happened.
            claimed_by: Owner of the claim; None: this process.
            final: No further attempt, whatever the policy says.
            states: States in which the report counts, joined by commas; empty: any.
            timer: The deadline that says so, if one does; it must be due.
            request_id: Repeats of it are answered ``duplicate``; empty: no check.
        """
        elapsed = max(self._runtime.redis_now_ms() - int(activity.scheduled_ms), 0)
        delay = None
        if not final:
            delay = retry_delay_ms(activity.options, attempt=attempt.attempt, failure=failure, elapsed_ms=elapsed)
        failure = final_failure(failure)
        if delay is not None:
            delivery = self.settle(
                namespace, attempt, queue, outcome="retry", item=payload.encode(failure), delay_ms=delay,
                claimed_by=claimed_by, states=states, timer=timer, request_id=request_id,
            )  # fmt: skip
            if delivery.status != "cancelled":
                return delivery
        retry_state = "timeout" if state.state == "backoff" else ""
        item = failed_item(attempt, failure, activity.options, retry_state=retry_state)
        return self.settle(
            namespace, attempt, queue, outcome="failed", item=item, claimed_by=claimed_by, states=states, timer=timer,
            request_id=request_id,
        )  # fmt: skip

    def settle(
        self, namespace: str, attempt: AttemptId, queue: str, *, outcome: str, item: bytes, delay_ms: int = 0,
        claimed_by: str | None = None, states: str = "", retries: int = 0, timer: str = "", request_id: str = "",
        about: str = "",
    ) -> Delivery:  # fmt: skip
        """Report an outcome; a worker of the workflow's queue takes the run's lease with it, others wake one."""
        runtime = self._runtime
        here = runtime.serves(queue) and claimed_by is None
        send = runtime.messages.resume(namespace, attempt.run_id, queue=queue, about=about)
        known = runtime.cache.known(namespace, attempt.run_id) if here else -1
        ends = outcome in ("completed", "failed")
        pushes = Pushes()
        if ends and not here:
            with contextlib.suppress(StoreUnavailableError):  # the broker is away: the sweep wakes the run
                pushes = runtime.messages.pushes(send)
        delivery = runtime.store(namespace).attempts.report(
            attempt, outcome=outcome, item=item, claimed_by=claimed_by or runtime.owner, delay_ms=delay_ms,
            states=states, owner=runtime.holder if here else "", pushes=pushes, known=known,
            retries=retries, timer=timer, request_id=request_id,
        )  # fmt: skip
        if delivery.status == "wake":
            runtime.messages.publish(send)
        elif (
            delivery.status == "retry"
            and delay_ms <= runtime.settings.timer_horizon_ms
            and runtime.messages.holds_delays
        ):
            # The sweep would send it too, up to one of its intervals late.
            seq = -attempt.seq
            runtime.messages.publish(
                runtime.messages.resume(namespace, attempt.run_id, queue=queue, seq=seq, delay_ms=max(delay_ms, 1))
            )
        return delivery


def _refused(why: str) -> Any:
    """Celery's own way of saying that a task was left alone: no result, no callbacks."""
    try:
        raise Ignore(why)
    except Ignore as error:
        return trace_ok_t(ExceptionInfo(internal=True), TraceInfo(states.IGNORED, error), 0.0, "")
