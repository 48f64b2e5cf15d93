"""Tells outsiders that runs have ended or been parked, from where that was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.store.results import RunRecord
from orchestration.tasks.runtime import Runtime
from orchestration.telemetry.announcer import RunFacts
from orchestration.types import RunId

__all__ = ["announce_end", "announce_parked", "trace_outside_end"]


def announce_end(runtime: Runtime, namespace: str, record: RunRecord, failure: Mapping[str, Any] | None) -> None:
    """A run has ended for good.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        record: The run's.
        failure: What it ended with; None: a result.
    """
    seconds = max(record.number("closed") - record.number("started"), 0) / 1000
    runtime.announcer.ended(RunFacts.of(namespace, record), record.status, failure, seconds=seconds)


def announce_parked(runtime: Runtime, namespace: str, run_id: RunId, kind: str, reason: str) -> None:
    """A run has been parked."""
    for record in runtime.store(namespace).runs.records([run_id]):
        runtime.announcer.parked(RunFacts.of(namespace, record), kind, reason)


def trace_outside_end(runtime: Runtime, namespace: str, run_id: RunId, status: str) -> None:
    """Make the span of a run that was ended from outside, if traces are on."""
    telemetry = runtime.telemetry
    if telemetry is None or telemetry.tracing is None:
        return
    store = runtime.store(namespace)
    for record in store.runs.records([run_id]):
        telemetry.ended_outside(record, namespace, store.runs.history(run_id), status)
