"""The module ``metrics``: counters, gauges and histograms in the default registry of ``prometheus_client``.

Whoever shows that registry (``prometheus_client.start_http_server``, an exporter beside Celery) shows them too.
"""

from __future__ import annotations

import math
import re
import threading
from typing import Any, Final

from orchestration.core.lua.host import HostError
from orchestration.modules.caller import Caller
from orchestration.modules.verbs import verb

__all__: list[str] = []

_NAME: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]{0,199}")
_LABEL: Final = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,99}")
_LONGEST_VALUE: Final = 1_000
_MOST_METRICS: Final = 1_000
_MOST_SERIES: Final = 10_000
_CLASSES: Final = {"counter": "Counter", "gauge": "Gauge", "histogram": "Histogram"}


class _Metric:
    """One metric and the names of its labels, fixed by its first use."""

    def __init__(self, kind: str, name: str, labels: tuple[str, ...]) -> None:
        try:
            import prometheus_client
        except ModuleNotFoundError:
            raise HostError(
                "Internal", "there is no collector of metrics: install celery-orchestration[metrics]"
            ) from None
        self.kind = kind
        self.labels = labels
        self.series: set[tuple[str, ...]] = set()
        try:
            self.collector: Any = getattr(prometheus_client, _CLASSES[kind])(name, f"{kind} of Lua code", labels)
        except ValueError as error:
            raise HostError("Invalid", f"the metric {name} cannot be a {kind}: {error}") from None

    def of(self, name: str, labels: dict[str, str]) -> Any:
        """The series of these labels."""
        if tuple(sorted(labels)) != self.labels:
            given, had = ", ".join(sorted(labels)) or "none", ", ".join(self.labels) or "none"
            raise HostError("Invalid", f"the metric {name} has other labels: {had}, not {given}")
        if not labels:
            return self.collector
        values = tuple(labels[label] for label in self.labels)
        if values not in self.series:
            if len(self.series) >= _MOST_SERIES:
                text = f"the metric {name} has {_MOST_SERIES} series: use labels with fewer values"
                raise HostError("RateLimited", text)
            self.series.add(values)
        return self.collector.labels(*values)


_metrics: dict[str, _Metric] = {}
_lock = threading.Lock()


def _find(kind: str, name: str, labels: Any) -> Any:
    if not _NAME.fullmatch(name):
        raise HostError("Invalid", f"{name!r:.100} is no name of a metric: use letters, digits, _ and :")
    # A label whose value is no string is none.
    given = {key: value for key, value in (labels or {}).items() if isinstance(value, str)} if labels else {}
    for label, value in given.items():
        if not _LABEL.fullmatch(label) or (kind == "histogram" and label == "le"):
            raise HostError("Invalid", f"{label!r:.100} is no name of a label: use letters, digits and _")
        if len(value) > _LONGEST_VALUE:  # it is kept as long as the OS process lives
            text = f"the label {label} has a value of {len(value)} characters: {_LONGEST_VALUE} at most"
            raise HostError("Invalid", text)
    with _lock:
        metric = _metrics.get(name)
        if metric is None:
            if len(_metrics) >= _MOST_METRICS:
                raise HostError("RateLimited", f"there are {_MOST_METRICS} metrics: use labels, not names")
            metric = _metrics[name] = _Metric(kind, name, tuple(sorted(given)))
        if metric.kind != kind:
            raise HostError("Invalid", f"the metric {name} is a {metric.kind}, no {kind}")
        return metric.of(name, given)


def _number(value: Any) -> float:
    if not math.isfinite(value):
        raise HostError("Invalid", "the value of a metric is a finite number")
    return float(value)


@verb("metrics.counter", quick=True)
def counter(_caller: Caller, name: str, value: float, labels: Any) -> bool:
    """Add to a counter."""
    if _number(value) < 0:
        raise HostError("Invalid", "a counter never goes down")
    _find("counter", name, labels).inc(value)
    return True


@verb("metrics.gauge", quick=True)
def gauge(_caller: Caller, name: str, how: str, value: float, labels: Any) -> bool:
    """Set a gauge, or move it up or down."""
    getattr(_find("gauge", name, labels), how)(_number(value))
    return True


@verb("metrics.histogram", quick=True)
def histogram(_caller: Caller, name: str, value: float, labels: Any) -> bool:
    """Count a value."""
    _find("histogram", name, labels).observe(_number(value))
    return True
