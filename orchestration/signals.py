"""Signals, in the way of ``celery.signals``: functions of yours that are called when something befalls a run.

::

    from orchestration.signals import workflow_failed, workflow_parked

    @workflow_parked.connect
    def page(sender, workflow_id, run_id, kind, reason, **_):
        pagerduty.trigger(f"{workflow_id} is parked: {kind}")

``sender`` is the Celery application. Receivers run in the process that wrote the change, mostly a worker: import them
there. They are called after it was written, at least once, so now and then twice; what they raise is logged. Keep them
quick. Accept ``**_``: later releases say more.
"""

from __future__ import annotations

from typing import Final

from celery.utils.dispatch import Signal

__all__ = [
    "workflow_cancelled", "workflow_completed", "workflow_continued", "workflow_failed", "workflow_parked",
    "workflow_terminated", "workflow_timed_out",
]  # fmt: skip

_FACTS: Final = {"namespace", "workflow_id", "run_id", "workflow_type", "task_id"}

workflow_completed: Final = Signal(name="workflow_completed", providing_args=_FACTS)
"""The run ended with a result."""

workflow_failed: Final = Signal(name="workflow_failed", providing_args=_FACTS | {"kind", "message"})
"""The run ended with a failure: its ``kind`` and its ``message``."""

workflow_cancelled: Final = Signal(name="workflow_cancelled", providing_args=_FACTS | {"kind", "message"})
"""The run ended because it was asked to."""

workflow_terminated: Final = Signal(name="workflow_terminated", providing_args=_FACTS | {"kind", "message"})
"""Somebody ended the run. Called where that was done: often a client, not a worker."""

workflow_timed_out: Final = Signal(name="workflow_timed_out", providing_args=_FACTS | {"kind", "message"})
"""The time of the run was over."""

workflow_continued: Final = Signal(name="workflow_continued", providing_args=_FACTS | {"status"})
"""Another run has taken its place; ``status`` says how this one ended. Called at most once."""

workflow_parked: Final = Signal(name="workflow_parked", providing_args=_FACTS | {"kind", "reason"})
"""The run cannot go on and waits for an operator: why in one word, and for people. Called at most once."""
