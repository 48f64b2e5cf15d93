"""The Celery application of the project, with workflows."""

from __future__ import annotations

import os

from celery import Celery

from orchestration.integrations.django import DjangoOrchestration

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "approval.settings")

app = Celery("approval")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
DjangoOrchestration(app)
