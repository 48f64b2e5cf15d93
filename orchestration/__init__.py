"""Durable workflows for Celery, with Redis as their only store.

Add one line to a Celery application, ``Orchestration(app)``, and a folder of YAML and Lua; start workflows like tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration.client import AsyncClient, Client, RetryPolicy, WorkflowHandle
    from orchestration.core.schedule import ScheduleAction, SchedulePolicy, ScheduleSpec
    from orchestration.tasks.app import Orchestration

__all__ = [
    "AsyncClient",
    "Client",
    "Orchestration",
    "RetryPolicy",
    "ScheduleAction",
    "SchedulePolicy",
    "ScheduleSpec",
    "WorkflowHandle",
    "activity",
    "errors",
]

_HOMES = {
    "AsyncClient": "orchestration.client",
    "Client": "orchestration.client",
    "RetryPolicy": "orchestration.client",
    "WorkflowHandle": "orchestration.client",
    "ScheduleAction": "orchestration.core.schedule",
    "SchedulePolicy": "orchestration.core.schedule",
    "ScheduleSpec": "orchestration.core.schedule",
    "Orchestration": "orchestration.tasks.app",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that ``import orchestration.errors`` stays light."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in ("activity", "errors"):
        return importlib.import_module(f"orchestration.{name}")
    raise AttributeError(f"module 'orchestration' has no attribute {name!r}")
