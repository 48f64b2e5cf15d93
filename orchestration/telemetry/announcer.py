"""Says what has become of runs: to signal receivers, to Celery's monitors, to the metrics. Only what is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery import Celery

from orchestration import signals
from orchestration.store.results import RunRecord
from orchestration.telemetry.events import Events
from orchestration.telemetry.facade import Telemetry
from orchestration.telemetry.harmless import harmless

__all__ = ["Announcer", "RunFacts"]

_SIGNALS = {
    "completed": signals.workflow_completed, "failed": signals.workflow_failed,
    "cancelled": signals.workflow_cancelled, "terminated": signals.workflow_terminated,
    "timed_out": signals.workflow_timed_out,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Who a run is.

    Attributes:
        namespace: Of the run.
        workflow_id: Its workflow.
        run_id: The run.
        workflow_type: Entry id of its code.
        task_id: Of the Celery task that it completes; of a child its run id.
    """

    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str
    task_id: str

    @classmethod
    def of(cls, namespace: str, record: RunRecord) -> RunFacts:
        """Of a record."""
        fields = record.fields
        return cls(
            namespace=namespace, workflow_id=fields["id"], run_id=record.run_id, workflow_type=fields["type"],
            task_id=record.task_id or record.run_id,
        )  # fmt: skip

    def fields(self) -> dict[str, str]:
        """As keyword arguments."""
        return {
            "namespace": self.namespace, "workflow_id": self.workflow_id, "run_id": self.run_id,
            "workflow_type": self.workflow_type, "task_id": self.task_id,
        }  # fmt: skip


class Announcer:
    """Tells outsiders.

    Args:
        app: The application.
        events: To Celery's monitors.
        telemetry: Counts; None: off.
    """

    def __init__(self, app: Celery, events: Events, telemetry: Telemetry | None) -> None:
        self._app = app
        self._events = events
        self._telemetry = telemetry

    @property
    def wants_steps(self) -> bool:
        """Whether anybody listens to every step."""
        return self._events.wanted

    @harmless
    def stepped(self, run: RunFacts, *, first: bool, ended: bool, rests: bool) -> None:
        """A step of a run was written.

        Args:
            run: Who it is.
            first: Its first.
            ended: It was the last.
            rests: There is nothing more to read.
        """
        self._events.send("workflow-started" if first else "workflow-resumed", **run.fields())
        if rests and not ended:
            self._events.send("workflow-suspended", **run.fields())

    @harmless
    def ended(self, run: RunFacts, status: str, failure: Mapping[str, Any] | None, *, seconds: float) -> None:
        """A run has ended for good.

        Args:
            run: Who it is.
            status: completed, failed, cancelled, terminated or timed_out.
            failure: What it ended with; None: a result.
            seconds: From its start to its end.
        """
        self._count(run, status)
        told: dict[str, Any] = {}
        if failure is not None:
            told["kind"] = str(failure.get("kind") or "")
        if self._events.wanted:
            self._events.send(f"workflow-{status.replace('_', '-')}", **run.fields(), **told, runtime=seconds)
        signal = _SIGNALS.get(status)
        if signal is not None and signal.receivers:
            if failure is not None:
                told["message"] = str(failure.get("message") or "")
            signal.send(self._app, **run.fields(), **told)

    @harmless
    def continued(self, run: RunFacts, status: str) -> None:
        """A run has ended, and another has taken its place."""
        self._count(run, status)
        if self._events.wanted:
            self._events.send("workflow-continued", **run.fields(), status=status)
        if signals.workflow_continued.receivers:
            signals.workflow_continued.send(self._app, **run.fields(), status=status)

    @harmless
    def parked(self, run: RunFacts, kind: str, reason: str) -> None:
        """A run waits for an operator."""
        if self._telemetry is not None:
            labels = (run.namespace, run.workflow_type, kind)
            self._telemetry.count("orchestration_runs_parked_total", *labels)
        if self._events.wanted:
            self._events.send("workflow-parked", **run.fields(), kind=kind)
        if signals.workflow_parked.receivers:
            signals.workflow_parked.send(self._app, **run.fields(), kind=kind, reason=reason)

    def _count(self, run: RunFacts, status: str) -> None:
        if self._telemetry is not None:
            self._telemetry.count("orchestration_runs_ended_total", run.namespace, run.workflow_type, status)
