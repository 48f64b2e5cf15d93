"""Help for tests of workflows: an engine in memory whose clock skips, assertions on histories, replays.

::

    def test_order(workflow_env):
        workflow_env.activity("app.api:charge_card", lambda order: {"id": "p-1"})
        handle = workflow_env.start("app.workflows:order_processor", {"id": "A-1", "amount": 5})
        workflow_env.skip("23h")
        assert handle.describe().status == "running"
        assert handle.result()["payment_id"] == "p-1"
        assert_history(handle).called("app.api:charge_card", times=1).slept("24h").completed()

The fixture ``workflow_env`` comes with the package; see docs/how-to/test-workflows.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration.errors import ActivityNotReplacedError, NothingDueError
    from orchestration.testing.assertions import HistoryAssertions, assert_history
    from orchestration.testing.deliveries import Hang
    from orchestration.testing.environment import WorkflowEnvironment
    from orchestration.testing.histories import RecordedHistory, read_history, replay, replay_histories

__all__ = [
    "ActivityNotReplacedError",
    "Hang",
    "HistoryAssertions",
    "NothingDueError",
    "RecordedHistory",
    "WorkflowEnvironment",
    "assert_history",
    "read_history",
    "replay",
    "replay_histories",
]

_HOMES = {
    "ActivityNotReplacedError": "orchestration.errors",
    "NothingDueError": "orchestration.errors",
    "HistoryAssertions": "orchestration.testing.assertions",
    "assert_history": "orchestration.testing.assertions",
    "Hang": "orchestration.testing.deliveries",
    "WorkflowEnvironment": "orchestration.testing.environment",
    "RecordedHistory": "orchestration.testing.histories",
    "read_history": "orchestration.testing.histories",
    "replay": "orchestration.testing.histories",
    "replay_histories": "orchestration.testing.histories",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: pytest loads this package in every project that has it."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orchestration.testing' has no attribute {name!r}")
