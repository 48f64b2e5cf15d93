"""What Python code uses to start, signal, watch and end workflows and processes."""

from __future__ import annotations

from orchestration.client.aio import AsyncClient, AsyncWorkflowHandle
from orchestration.client.aio_processes import AsyncProcessHandle, AsyncSubscription
from orchestration.client.aio_schedules import AsyncScheduleHandle
from orchestration.client.client import Client
from orchestration.client.description import Description, PendingActivity, Place
from orchestration.client.handle import WorkflowHandle
from orchestration.client.listing import WorkflowPage
from orchestration.client.options import RetryPolicy
from orchestration.client.processes import ProcessDescription, ProcessHandle
from orchestration.client.schedules import ScheduleDescription, ScheduledRun, ScheduledTime, ScheduleHandle
from orchestration.client.services import ServiceDescription
from orchestration.client.subscriptions import Subscription
from orchestration.core.identity import Actor
from orchestration.health.audit import RunAudit
from orchestration.health.findings import Finding, Severity
from orchestration.health.judging import Fault, Mender, Wake
from orchestration.host.mailbox import Message
from orchestration.store.query import Condition
from orchestration.tasks.copies import Preview
from orchestration.tasks.moving import Fit, Move

__all__ = [
    "Actor",
    "AsyncClient",
    "AsyncProcessHandle",
    "AsyncScheduleHandle",
    "AsyncSubscription",
    "AsyncWorkflowHandle",
    "Client",
    "Condition",
    "Description",
    "Fault",
    "Finding",
    "Fit",
    "Mender",
    "Message",
    "Move",
    "PendingActivity",
    "Place",
    "Preview",
    "ProcessDescription",
    "ProcessHandle",
    "RetryPolicy",
    "RunAudit",
    "ScheduleDescription",
    "ScheduleHandle",
    "ScheduledRun",
    "ScheduledTime",
    "ServiceDescription",
    "Severity",
    "Subscription",
    "Wake",
    "WorkflowHandle",
    "WorkflowPage",
]
