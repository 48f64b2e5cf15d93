"""One attempt of an activity, from its claim to its report."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Self

from orchestration.store.attempts import AttemptId, Claim
from orchestration.telemetry.metrics import Metrics
from orchestration.telemetry.run_trace import RunTrace
from orchestration.telemetry.tracing import Tracing

__all__ = ["AttemptSeen"]

logger = logging.getLogger(__name__)


class AttemptSeen:
    """Times an attempt and makes its span; a context manager around its body and its report.

    Args:
        tracing: Makes the span; None: off.
        metrics: Counts; None: off.
        request: Of the attempt's message. What Celery's instrumentation reads there is pointed at the attempt's span.
        namespace: Of the run.
        attempt: Which attempt.
        retries: How often Celery's own retry has sent it.
        target: Entry id that was called.
        workflow_id: Of the run.
        workflow_type: Of the run.
        queue: Where the message was.
        claim: What the store said.
    """

    def __init__(
        self, tracing: Tracing | None, metrics: Metrics | None, request: dict[str, Any], *, namespace: str,
        attempt: AttemptId, retries: int, target: str, workflow_id: str, workflow_type: str, queue: str, claim: Claim,
    ) -> None:  # fmt: skip
        self._tracing = tracing
        self._metrics = metrics
        self._request = request
        self._namespace = namespace
        self._attempt = attempt
        self._retries = retries
        self._target = target
        self._workflow = (workflow_id, workflow_type)
        self._queue = queue
        self._claim = claim
        self._begun: tuple[Any, Any] | None = None
        self._end_ms = float(claim.time_ms)
        self._error = "error"
        self._outcome = "failed"
        self._dropped = ""

    def __enter__(self) -> Self:
        try:
            self._open()
        except Exception:
            logger.warning("telemetry of an attempt failed", exc_info=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close(kind)
        except Exception:
            logger.warning("telemetry of an attempt failed", exc_info=True)

    def ended(self, outcome: str, now_ms: float, error: str = "") -> None:
        """The body has ended.

        Args:
            outcome: As :class:`orchestration.tasks.outcomes.Outcome` names it.
            now_ms: Redis' time, at most now.
            error: Kind of its failure.
        """
        self._outcome, self._end_ms = outcome, float(now_ms)
        self._error = error or "error" if outcome == "failed" else ""

    def dropped(self, why: str) -> None:
        """The report counted for nothing."""
        self._dropped = why

    def _open(self) -> None:
        claim = self._claim
        if self._metrics is not None and claim.sent_ms:
            waited = (claim.time_ms - claim.sent_ms) / 1000
            name = "orchestration_activity_schedule_to_start_seconds"
            self._metrics.observe(name, waited, (self._namespace, self._queue))
        if self._tracing is None:
            return
        a = self._attempt
        run = RunTrace.read(a.run_id, self._tracing.received(self._request))
        if run is None:  # sent by a worker whose traces are off
            return
        span_id = run.span("attempt", a.seq, a.attempt, self._retries)
        self._begun = self._tracing.begin(
            run, f"attempt {self._target}", span_id=span_id, parent_id=run.span("activity", a.seq),
            start_ms=claim.time_ms,
            attributes={
                "messaging.system": "celery", "messaging.operation.type": "process",
                "messaging.destination.name": self._queue, "messaging.message.id": str(self._request.get("id") or ""),
                "orchestration.namespace": self._namespace, "orchestration.workflow.id": self._workflow[0],
                "orchestration.workflow.type": self._workflow[1], "orchestration.run.id": a.run_id,
                "orchestration.activity.target": self._target, "orchestration.activity.seq": a.seq,
                "orchestration.activity.attempt": a.attempt,
            },
        )  # fmt: skip
        self._request.update(self._tracing.headers(run, span_id))

    def _close(self, kind: type[BaseException] | None) -> None:
        if self._metrics is not None:
            duration = (self._end_ms - self._claim.time_ms) / 1000
            labels = (self._namespace, self._target, self._outcome)
            self._metrics.observe("orchestration_activity_duration_seconds", duration, labels)
        if self._tracing is not None and self._begun is not None:
            attributes = {"orchestration.activity.outcome": self._outcome}
            if self._dropped:
                attributes["orchestration.dropped"] = self._dropped
            error = self._error or (kind.__name__ if kind is not None else "")
            self._tracing.finish(self._begun, self._end_ms, error=error, attributes=attributes)
