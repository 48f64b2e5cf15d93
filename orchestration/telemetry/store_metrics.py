"""Gauges of the store as a whole: read when somebody looks, the same from every worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from orchestration.store.store import Store
from orchestration.telemetry.metrics import Metric

__all__ = ["STORE_METRICS", "Reading", "StoreCollector", "exposition", "read_store"]


def _gauge(name: str, unit: str, meaning: str) -> Metric:
    return Metric(name=name, kind="gauge", unit=unit, labels=("namespace",), meaning=meaning)


STORE_METRICS: Final = (
    _gauge("orchestration_runs_open", "runs", "Runs that have not ended, parked and paused ones included."),
    _gauge("orchestration_runs_parked", "runs", "Open runs that wait for an operator."),
    _gauge("orchestration_runs_kept", "runs", "Ended runs whose retention is not over."),
    _gauge("orchestration_runs_ready", "runs", "Runs with something to read: a step is due or being made."),
    _gauge("orchestration_timers", "timers", "Timers and deadlines that are set."),
    _gauge("orchestration_timer_overdue_seconds", "seconds",
           "How long the oldest timer or deadline is overdue; 0: none is."),
    _gauge("orchestration_attempts_waiting", "attempts", "Attempts of activities that were sent and that no worker "
           "has taken yet; those on workers without the extension stay here until they end."),
    _gauge("orchestration_attempt_waiting_seconds", "seconds", "How long the oldest of them has waited."),
    _gauge("orchestration_outbox_entries", "entries", "What commits left to be done outside of them."),
    _gauge("orchestration_outbox_overdue_seconds", "seconds",
           "How long the oldest entry is past the moment when the sweep should have seen to it; 0: none is."),
)  # fmt: skip
"""All that is read from the store."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Values of :data:`STORE_METRICS`, in their order, for one namespace."""

    namespace: str
    values: tuple[float, ...]


def read_store(store: Store) -> Reading:
    """Read the gauges of a namespace: one pipeline, a few small commands for each shard.

    Raises:
        StoreUnavailableError: Redis does not answer.
    """
    opened = parked = kept = ready = timers = waiting = outbox = 0
    due: list[float] = []
    sent: list[float] = []
    left: list[float] = []
    now_ms, shards = store.timers.counts()
    for shard in shards:
        opened, parked, kept = opened + shard.open, parked + shard.parked, kept + shard.closed
        ready, timers = ready + shard.ready, timers + shard.timers
        waiting, outbox = waiting + shard.pending, outbox + shard.outbox
        due += shard.first_timer
        sent += shard.first_pending
        left += shard.first_outbox

    def since(moments: list[float]) -> float:
        return max(now_ms - min(moments), 0) / 1000 if moments else 0.0

    values = (opened, parked, kept, ready, timers, since(due), waiting, since(sent), outbox, since(left))
    return Reading(store.keyspace.namespace, tuple(map(float, values)))


def exposition(readings: Iterable[Reading]) -> str:
    """Readings as text that Prometheus scrapes."""
    readings = list(readings)
    lines: list[str] = []
    for index, metric in enumerate(STORE_METRICS):
        lines += [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} gauge"]
        lines += [f'{metric.name}{{namespace="{found.namespace}"}} {found.values[index]!r}' for found in readings]
    return "\n".join(lines) + "\n"


class StoreCollector:
    """Reads the gauges for ``prometheus_client`` at each scrape.

    Args:
        stores: Of all namespaces.
    """

    def __init__(self, stores: Iterable[Store]) -> None:
        self._stores = list(stores)

    def describe(self) -> Iterator[Any]:
        """What there will be, without a look at the store."""
        return self._families([])

    def collect(self) -> Iterator[Any]:
        """The values now."""
        return self._families([read_store(store) for store in self._stores])

    def _families(self, readings: list[Reading]) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        for index, metric in enumerate(STORE_METRICS):
            family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for reading in readings:
                family.add_metric([reading.namespace], reading.values[index])
            yield family
