"""The admin: pages about runs, and the outbox."""

from __future__ import annotations

from django.contrib import admin

from orchestration.integrations.django.admin.entries import OutboxAdmin
from orchestration.integrations.django.admin.runs import RunAdmin
from orchestration.integrations.django.models import OutboxEntry, Run

__all__ = ["OutboxAdmin", "RunAdmin"]

admin.site.register(Run, RunAdmin)
admin.site.register(OutboxEntry, OutboxAdmin)
