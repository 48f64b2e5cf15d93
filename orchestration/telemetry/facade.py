"""Traces and metrics of one process; None stands for it where both are off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from orchestration.settings import Settings
from orchestration.store.results import RunRecord, Sweep
from orchestration.telemetry.attempts import AttemptSeen
from orchestration.telemetry.harmless import harmless
from orchestration.telemetry.metrics import Metrics
from orchestration.telemetry.observed import Observed
from orchestration.telemetry.run_trace import RunTrace
from orchestration.telemetry.tracing import Tracing

__all__ = ["Telemetry", "make_telemetry"]

def make_telemetry(settings: Settings) -> Telemetry | None:
    """The telemetry that the settings ask for; None when they ask for none.

    Raises:
        ConfigError: A package that it needs is not installed.
    """
    has_metrics = settings.metrics or settings.metrics_port > 0
    if not (settings.tracing or has_metrics):
        return None
    return Telemetry(Tracing() if settings.tracing else None, Metrics() if has_metrics else None)


class Telemetry:
    """What the engine tells outsiders.

    Args:
        tracing: Makes spans; None: it is off.
        metrics: Counts; None: it is off.
    """

    def __init__(self, tracing: Tracing | None, metrics: Metrics | None) -> None:
        self.tracing = tracing
        self.metrics = metrics

    # Where runs begin -------------------------------------------------------------------------------------------

    def caller(self, headers: Mapping[str, Any] | None = None) -> str:
        """The span that asks for something, as a ``traceparent``; empty when there is none.

        Args:
            headers: Of the message that asks for it, where there is one.
        """
        return self.tracing.caller(headers or {}) if self.tracing is not None else ""

    def origin(self, run_id: str, caller: str) -> str:
        """What the record of a new run says of its trace; empty when traces are off."""
        return self.tracing.of_run(run_id, caller).write() if self.tracing is not None else ""

    def origin_after(self, run_id: str, origin: str) -> str:
        """What the record of a run says that takes the place of another: it is in the same trace.

        Args:
            run_id: The run before.
            origin: What its record says.
        """
        if self.tracing is None:
            return origin
        run = self.tracing.of_run(run_id, origin)
        return run.traceparent(run.parent_id or run.root)

    def below(self, run_id: str, origin: str, *what: object) -> str:
        """A span of a run, as what it starts is told of it; empty when traces are off."""
        if self.tracing is None:
            return ""
        run = self.tracing.of_run(run_id, origin)
        return run.traceparent(run.span(*what))

    # Steps ------------------------------------------------------------------------------------------------------

    def observe(self, record: RunRecord, namespace: str) -> Observed:
        """Follow a run from here on.

        Args:
            record: The run's.
            namespace: Of the run.
        """
        fields = record.fields
        run = self.tracing.of_run(record.run_id, fields.get("trace", "")) if self.tracing is not None else None
        return Observed(
            self.tracing, self.metrics, run, namespace=namespace, run_id=record.run_id, workflow_id=fields["id"],
            workflow_type=fields["type"], queue=fields.get("queue", ""),
        )  # fmt: skip

    def inside(self, observed: Observed | None) -> AbstractContextManager[None]:
        """While a step of a run is made: what is done belongs to its trace."""
        if self.tracing is None or observed is None or observed.run is None:
            return nullcontext()
        return self.tracing.inside(observed.run, observed.run.root)

    def replayed(self, record: RunRecord, namespace: str, history: Sequence[bytes], *, seconds: float) -> Observed:
        """A run has been brought up by a replay of its history: follow it from here on.

        Args:
            record: The run's.
            namespace: Of the run.
            history: What was replayed.
            seconds: How long that took.
        """
        observed = self.observe(record, namespace)
        observed.replayed(history)
        self.count("orchestration_cache_lookups_total", namespace, "miss")
        if history:
            self.time("orchestration_replay_duration_seconds", seconds, *observed.labels)
            self.time("orchestration_replay_events", len(history), *observed.labels)
        return observed

    @harmless
    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter, see :data:`orchestration.telemetry.metrics.METRICS`."""
        if self.metrics is not None and amount:
            self.metrics.count(name, amount, labels)

    @harmless
    def time(self, name: str, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        if self.metrics is not None:
            self.metrics.observe(name, value, labels)

    @harmless
    def gauge(self, name: str, value: float) -> None:
        """Set a gauge."""
        if self.metrics is not None:
            self.metrics.set(name, value)

    # Attempts ---------------------------------------------------------------------------------------------------

    def headers(self, traceparent: str) -> dict[str, str]:
        """What the message of an attempt carries."""
        run = RunTrace.read("", traceparent)
        if self.tracing is None or run is None:
            return {}
        return self.tracing.headers(run, run.parent_id)

    def below_span(self, traceparent: str) -> AbstractContextManager[None]:
        """While something is done that belongs below a span that is made elsewhere."""
        run = RunTrace.read("", traceparent)
        if self.tracing is None or run is None:
            return nullcontext()
        return self.tracing.inside(run, run.parent_id)

    def attempt(self, request: dict[str, Any], **facts: Any) -> AttemptSeen:
        """An attempt that is about to run in this thread, see :class:`AttemptSeen`."""
        return AttemptSeen(self.tracing, self.metrics, request, **facts)

    @harmless
    def lost(self, run_id: str, traceparent: str, *, namespace: str, target: str, seq: int, attempt: int,
             retries: int, since_ms: float, now_ms: float) -> None:  # fmt: skip
        """An attempt whose worker has died: its span is made here, for what stands below it."""
        if self.metrics is not None:
            labels = (namespace, target, "lost")
            self.metrics.observe("orchestration_activity_duration_seconds", (now_ms - since_ms) / 1000, labels)
        run = RunTrace.read(run_id, traceparent)
        if self.tracing is not None and run is not None:
            self.tracing.emit(
                run, f"attempt {target}", span_id=run.span("attempt", seq, attempt, retries),
                parent_id=run.parent_id, start_ms=since_ms, end_ms=now_ms, kind="consumer", error="worker_lost",
                attributes={"orchestration.run.id": run_id, "orchestration.activity.target": target,
                            "orchestration.activity.seq": seq, "orchestration.activity.attempt": attempt},
            )  # fmt: skip

    # The sweep --------------------------------------------------------------------------------------------------

    @harmless
    def swept(self, namespace: str, found: Sweep) -> None:
        """One look at a shard."""
        if self.metrics is not None:
            for kind, items in (
                ("fire", found.fire), ("hand", found.hand), ("wake", found.runs), ("outbox", found.outbox)
            ):  # fmt: skip
                if items:
                    self.metrics.count("orchestration_sweep_findings_total", len(items), (namespace, kind))

    # Ends from outside ------------------------------------------------------------------------------------------

    @harmless
    def ended_outside(self, record: RunRecord, namespace: str, history: Iterable[bytes], status: str) -> None:
        """A run that was terminated, or whose time was over: its code had no say, and no step of it was written.

        Args:
            record: The run's.
            namespace: Of the run.
            history: All of it.
            status: How it ended.
        """
        if self.tracing is not None:
            observed = self.observe(record, namespace)
            observed.replayed(history)
            observed.close(status)


