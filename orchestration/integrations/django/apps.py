"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["OrchestrationConfig"]


class OrchestrationConfig(AppConfig):
    """Durable workflows in a Django project."""

    name = "orchestration.integrations.django"
    label = "orchestration"
    verbose_name = "Workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have Django check the settings and the definitions."""
        from django.core import checks

        from orchestration.integrations.django.checks import check_definitions, check_settings

        checks.register(check_settings, "orchestration")
        checks.register(check_definitions, "orchestration")
