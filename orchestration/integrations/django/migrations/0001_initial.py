"""The outbox, and the permissions for runs (which have no table)."""

from __future__ import annotations

from typing import Any

import django.utils.timezone
from django.db import migrations, models

import orchestration.integrations.django.models


class Migration(migrations.Migration):
    """Of the first release."""

    initial = True
    dependencies: list[Any] = []
    operations = [
        migrations.CreateModel(
            name="Run",
            fields=[("id", models.CharField(max_length=255, primary_key=True, serialize=False))],
            options={
                "verbose_name": "run",
                "managed": False,
                "default_permissions": ("view",),
                "permissions": [
                    ("view_run_data", "Can see inputs, results and errors of runs"),
                    ("start_run", "Can start runs"),
                    ("signal_run", "Can signal runs"),
                    ("cancel_run", "Can cancel runs"),
                    ("terminate_run", "Can terminate runs"),
                    ("pause_run", "Can pause and resume runs"),
                    ("retry_run", "Can let parked runs try again"),
                    ("reset_run", "Can reset runs"),
                ],
            },
        ),
        migrations.CreateModel(
            name="OutboxEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "request_id",
                    models.CharField(
                        default=orchestration.integrations.django.models.new_request_id, editable=False, max_length=255
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("start", "Start"), ("signal", "Signal"), ("cancel", "Cancel")], max_length=10
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Pending"), ("sent", "Sent"), ("dead", "Dead")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("namespace", models.CharField(max_length=100)),
                ("workflow_id", models.CharField(max_length=255)),
                ("what", models.CharField(help_text="Workflow type, or topic of the message.", max_length=255)),
                ("payload", models.BinaryField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "next_try_at",
                    models.DateTimeField(blank=True, help_text="By the database's clock. Empty: at once.", null=True),
                ),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("error", models.TextField(blank=True, default="")),
            ],
            options={
                "verbose_name": "outbox entry",
                "verbose_name_plural": "outbox entries",
                "permissions": [("resend_outboxentry", "Can send outbox entries again")],
                "default_permissions": ("view", "delete"),
                "indexes": [
                    models.Index(fields=["state", "id"], name="orchestration_outbox_state"),
                    models.Index(
                        fields=["namespace", "workflow_id", "state", "id"], name="orchestration_outbox_order"
                    ),
                ],
            },
        ),
    ]
