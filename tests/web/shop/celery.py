"""The Celery application of the project."""

from __future__ import annotations

from celery import Celery

from orchestration.integrations.django import DjangoOrchestration

app = Celery("shop", set_as_current=False)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
orchestration = DjangoOrchestration(app)
