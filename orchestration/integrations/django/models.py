"""Tables: the outbox. Runs are kept in Redis; their model stands for them where Django asks for permissions."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.utils import timezone

__all__ = ["OutboxEntry", "Run"]


def new_request_id() -> str:
    """An id by which a request is known wherever it comes to, however often."""
    return f"outbox/{uuid.uuid4()}"


class OutboxEntry(models.Model):
    """A start or a message that was asked for in a transaction, and is sent when that has committed."""

    class Kind(models.TextChoices):
        """What is asked for."""

        START = "start"
        SIGNAL = "signal"
        CANCEL = "cancel"

    class State(models.TextChoices):
        """How far it has come."""

        PENDING = "pending"
        SENT = "sent"
        DEAD = "dead"

    id = models.BigAutoField(primary_key=True)
    request_id = models.CharField(max_length=255, default=new_request_id, editable=False)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    namespace = models.CharField(max_length=100)
    workflow_id = models.CharField(max_length=255)
    what = models.CharField(max_length=255, help_text="Workflow type, or topic of the message.")
    payload = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)
    next_try_at = models.DateTimeField(null=True, blank=True, help_text="By the database's clock. Empty: at once.")
    sent_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "outbox entry"
        verbose_name_plural = "outbox entries"
        default_permissions = ("view", "delete")
        permissions = [("resend_outboxentry", "Can send outbox entries again")]
        indexes = [
            models.Index(fields=["state", "id"], name="orchestration_outbox_state"),
            models.Index(fields=["namespace", "workflow_id", "state", "id"], name="orchestration_outbox_order"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.workflow_id}"


class Run(models.Model):
    """A run of a workflow. It has no table: what is known of it is in Redis."""

    id: Any = models.CharField(max_length=255, primary_key=True)

    class Meta:
        managed = False
        verbose_name = "run"
        default_permissions = ("view",)
        permissions = [
            ("view_run_data", "Can see inputs, results and errors of runs"),
            ("start_run", "Can start runs"),
            ("signal_run", "Can signal runs"),
            ("cancel_run", "Can cancel runs"),
            ("terminate_run", "Can terminate runs"),
            ("pause_run", "Can pause and resume runs"),
            ("retry_run", "Can let parked runs try again"),
            ("reset_run", "Can reset runs"),
        ]

    def __str__(self) -> str:
        return str(self.id)
