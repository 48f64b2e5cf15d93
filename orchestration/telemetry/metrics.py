"""The engine's own metrics: one place for their names, types, units, labels and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from orchestration.errors import ConfigError

__all__ = ["METRICS", "Metric", "Metrics", "names_of"]

_SHORT: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_LONG: Final = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
_COUNTS: Final = (1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 10000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a metric is.

    Attributes:
        name: As it is scraped.
        kind: ``counter``, ``gauge`` or ``histogram``.
        unit: Of its value.
        labels: Their names.
        meaning: One sentence.
        buckets: Of a histogram.
    """

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


_RUN: Final = ("namespace", "workflow_type")

METRICS: Final = (
    Metric(name="orchestration_runs_started_total", kind="counter", unit="runs", labels=_RUN,
           meaning="Runs whose first step was written, those that took another's place included."),
    Metric(name="orchestration_runs_ended_total", kind="counter", unit="runs", labels=(*_RUN, "status"),
           meaning="Runs that ended, by how: completed, failed, cancelled, terminated, timed_out, continued_as_new."),
    Metric(name="orchestration_runs_parked_total", kind="counter", unit="runs", labels=(*_RUN, "kind"),
           meaning="Runs set aside for an operator, by why: non-determinism, limit, bundle, history, engine."),
    Metric(name="orchestration_step_duration_seconds", kind="histogram", unit="seconds", labels=_RUN, buckets=_SHORT,
           meaning="One step of a run: from the lease until its commit is written, replay and local activities "
                   "included."),
    Metric(name="orchestration_step_inputs", kind="histogram", unit="inputs", labels=_RUN, buckets=_COUNTS,
           meaning="Inputs that one step consumed: what had gathered in the inbox."),
    Metric(name="orchestration_commits_fenced_total", kind="counter", unit="commits", labels=_RUN,
           meaning="Steps that were not written because somebody else had changed the run meanwhile."),
    Metric(name="orchestration_duplicates_dropped_total", kind="counter", unit="messages",
           labels=("namespace", "where"),
           meaning="What came twice, or too late, and changed nothing: at the claim of an attempt, at its report, "
                   "or when the step read it."),
    Metric(name="orchestration_cache_lookups_total", kind="counter", unit="lookups", labels=("namespace", "outcome"),
           meaning="Steps that found the run's Lua machine in memory (hit), and those that had to replay (miss)."),
    Metric(name="orchestration_replay_duration_seconds", kind="histogram", unit="seconds", labels=_RUN, buckets=_SHORT,
           meaning="A replay of a history, with the reading of it."),
    Metric(name="orchestration_replay_events", kind="histogram", unit="events", labels=_RUN, buckets=_COUNTS,
           meaning="Events of one replay."),
    Metric(name="orchestration_activity_schedule_to_start_seconds", kind="histogram", unit="seconds",
           labels=("namespace", "queue"), buckets=_LONG,
           meaning="From the dispatch of an attempt to its claim by a worker, both by the clock of Redis."),
    Metric(name="orchestration_activity_duration_seconds", kind="histogram", unit="seconds",
           labels=("namespace", "target", "outcome"), buckets=_LONG,
           meaning="The body of one attempt, by how it ended: completed, failed, waiting (Celery's own retry), later "
                   "(somebody else reports), lost (its worker died)."),
    Metric(name="orchestration_timer_lateness_seconds", kind="histogram", unit="seconds", labels=_RUN, buckets=_SHORT,
           meaning="How long after its due time a timer reached the workflow's code, by the clock of Redis."),
    Metric(name="orchestration_sweep_duration_seconds", kind="histogram", unit="seconds", labels=(), buckets=_SHORT,
           meaning="One turn of the sweep, over all shards."),
    Metric(name="orchestration_sweep_findings_total", kind="counter", unit="findings", labels=("namespace", "kind"),
           meaning="What the sweep had to see to: timers and deadlines due (fire), timers handed to the broker "
                   "(hand), runs without a holder (wake), entries of the outbox (outbox), attempts whose message "
                   "seems lost (resend), attempts of dead workers (lost)."),
    Metric(name="orchestration_processes", kind="gauge", unit="processes", labels=(),
           meaning="Processes and running functions in this worker."),
    Metric(name="orchestration_process_messages_total", kind="counter", unit="messages", labels=("direction",),
           meaning="Messages of processes that left this worker (sent) or came from another one (received)."),
)  # fmt: skip
"""All that worker processes count."""


def names_of(metric: Metric) -> str:
    """The name without what Prometheus adds to it by itself."""
    return metric.name.removesuffix("_total")


class Metrics:
    """The metrics of this process, in the default registry of ``prometheus_client``.

    Raises:
        ConfigError: ``prometheus_client`` is not installed.
    """

    _made: ClassVar[dict[str, Any]] = {}
    """By name: a registry takes each once."""

    def __init__(self) -> None:
        try:
            import prometheus_client
        except ModuleNotFoundError as error:
            raise ConfigError(
                "metrics are on and prometheus_client is not installed: install celery-orchestration[metrics]"
            ) from error
        if not self._made:
            for metric in METRICS:
                self._made[metric.name] = _make(prometheus_client, metric)

    def count(self, name: str, amount: float, labels: tuple[str, ...]) -> None:
        """Add to a counter.

        Args:
            name: Of the metric, in full.
            amount: At least 0.
            labels: Values of its labels, in the order of :data:`METRICS`.
        """
        metric = self._made[name]
        (metric.labels(*labels) if labels else metric).inc(amount)

    def observe(self, name: str, value: float, labels: tuple[str, ...]) -> None:
        """Add a value to a histogram; arguments as those of :meth:`count`."""
        metric = self._made[name]
        (metric.labels(*labels) if labels else metric).observe(max(value, 0.0))

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._made[name].set(value)


def _make(module: Any, metric: Metric) -> Any:
    if metric.kind == "histogram":
        return module.Histogram(metric.name, metric.meaning, metric.labels, buckets=metric.buckets)
    if metric.kind == "gauge":
        return module.Gauge(metric.name, metric.meaning, metric.labels, multiprocess_mode="livesum")
    return module.Counter(names_of(metric), metric.meaning, metric.labels)
