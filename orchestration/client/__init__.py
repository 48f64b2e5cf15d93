"""What Python code uses to start, signal, watch and end workflows."""

from __future__ import annotations

from orchestration.client.aio import AsyncClient, AsyncWorkflowHandle
from orchestration.client.aio_schedules import AsyncScheduleHandle
from orchestration.client.client import Client
from orchestration.client.description import Description, PendingActivity, Place
from orchestration.client.handle import WorkflowHandle
from orchestration.client.listing import WorkflowPage
from orchestration.client.options import RetryPolicy
from orchestration.client.schedules import ScheduleDescription, ScheduledRun, ScheduledTime, ScheduleHandle
from orchestration.client.services import ServiceDescription
from orchestration.core.identity import Actor
from orchestration.store.query import Condition
from orchestration.tasks.copies import Preview
from orchestration.tasks.moving import Fit, Move

__all__ = [
    "Actor",
    "AsyncClient",
    "AsyncScheduleHandle",
    "AsyncWorkflowHandle",
    "Client",
    "Condition",
    "Description",
    "Fit",
    "Move",
    "PendingActivity",
    "Place",
    "Preview",
    "RetryPolicy",
    "ScheduleDescription",
    "ScheduleHandle",
    "ScheduledRun",
    "ScheduledTime",
    "ServiceDescription",
    "WorkflowHandle",
    "WorkflowPage",
]
