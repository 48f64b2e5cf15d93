"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig


class PurchasesConfig(AppConfig):
    """Purchases that have to be approved."""

    name = "purchases"
