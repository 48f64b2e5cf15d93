"""Events for Celery's monitors: ``workflow-started`` and so on, and ``task-*`` events that Flower understands.

They are sent by the worker's own event exchange while task events are wanted (``-E``, ``worker_send_task_events``, or a
monitor that has switched them on), after the commit that they tell of.
"""

from __future__ import annotations

import logging
import mmap
from typing import Any, Final

from celery import Celery, bootsteps

__all__ = ["TASK_EVENTS", "WORKFLOW_EVENTS", "EventStep", "Events"]

logger = logging.getLogger(__name__)

WORKFLOW_EVENTS: Final = {
    "workflow-started": "The first step of a run was written.",
    "workflow-suspended": "A step was written, and the run waits for what comes next.",
    "workflow-resumed": "A run that waited has read something.",
    "workflow-completed": "The run ended with a result.",
    "workflow-failed": "The run ended with a failure; `kind` names it.",
    "workflow-cancelled": "The run ended because it was asked to.",
    "workflow-terminated": "Somebody ended the run.",
    "workflow-timed-out": "The time of the run was over.",
    "workflow-continued": "Another run has taken its place: continued as new, retried, or the next of a cron schedule; "
    "`status` says how this one ended.",
    "workflow-parked": "The run waits for an operator; `kind` says why.",
}
"""Types of events, and what each says."""

TASK_EVENTS: Final = {
    "workflow-suspended": "task-waiting",
    "workflow-completed": "task-succeeded",
    "workflow-failed": "task-failed",
    "workflow-cancelled": "task-cancelled",
    "workflow-terminated": "task-failed",
    "workflow-timed-out": "task-failed",
    "workflow-parked": "task-parked",
}
"""What Flower and `celery events` are told beside, so that the task of a workflow shows where it stands."""

_LOOK_EVERY_S: Final = 1.0


class Events:
    """Sends events of runs.

    Made before the pool's children are, which share its switch.

    Args:
        app: The application.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._switch = mmap.mmap(-1, 1)
        self.hostname: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody has asked this worker for events of tasks."""
        return self._switch[0] != 0

    def switch(self, on: bool) -> None:
        """Say whether they are wanted; also to the children of this process."""
        self._switch[0] = int(on)

    def send(self, name: str, *, task_id: str, **fields: Any) -> None:
        """Send an event, and the one of the task beside it; without effect while nobody wants them.

        What goes wrong is logged: a monitor that misses an event is no reason to hold a run up.

        Args:
            name: One of :data:`WORKFLOW_EVENTS`.
            task_id: Of the Celery task that the workflow is; of a child workflow its run id.
            fields: Facts of the run; ``workflow_type`` is among them.
        """
        if not self.wanted:
            return
        try:
            with self._app.events.default_dispatcher(hostname=self.hostname) as dispatcher:
                dispatcher.send(name, uuid=task_id, **fields)
                beside = TASK_EVENTS.get(name)
                if beside is not None:
                    dispatcher.send(beside, uuid=task_id, name=fields.get("workflow_type", ""), **_task_fields(fields))
        except Exception as error:  # noqa: BLE001 - a broker may fail in many ways
            logger.warning("event not sent: %s", error, extra={"event": name, "run_id": fields.get("run_id", "")})


def _task_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """What monitors show of a task; never its result or its error's text, which may tell what they must not."""
    found: dict[str, Any] = {"root_id": fields.get("root_id"), "parent_id": fields.get("parent_id")}
    found = {name: value for name, value in found.items() if value}
    if "runtime" in fields:
        found |= {"runtime": fields["runtime"], "result": "", "exception": str(fields.get("kind") or ""),
                  "traceback": ""}  # fmt: skip
    return found


class EventStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Keeps the switch where the worker's own events of tasks are: monitors may turn them on and off."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        """The worker has its dispatcher."""
        events = parent.app.orchestration.events

        def look() -> None:
            dispatcher = parent.event_dispatcher
            is_on = dispatcher is not None and dispatcher.enabled
            events.switch(is_on and (not dispatcher.groups or "task" in dispatcher.groups))

        look()
        self._timer = parent.timer.call_repeatedly(_LOOK_EVERY_S, look)

    def stop(self, parent: Any) -> None:
        """The connection is gone, or the worker goes down."""
        del parent
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
