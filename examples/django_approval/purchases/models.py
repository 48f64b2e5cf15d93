"""Purchases."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models


class Purchase(models.Model):
    """Something that somebody asks for."""

    class State(models.TextChoices):
        """Where it stands."""

        WAITING = "waiting"
        DECIDED = "decided"
        ORDERED = "ordered"
        REJECTED = "rejected"

    what = models.CharField(max_length=200)
    amount = models.PositiveIntegerField(
        help_text="In whole euros.", validators=[MinValueValidator(1), MaxValueValidator(1_000_000)]
    )
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    note = models.CharField(max_length=200, blank=True)
    reminders = models.PositiveIntegerField(default=0)

    class Meta:
        """Managers decide."""

        permissions = [("decide_purchase", "Can approve and reject purchases")]
        ordering = ["-id"]

    def __str__(self) -> str:
        return str(self.what)

    @property
    def workflow_id(self) -> str:
        """Id of its workflow."""
        return f"purchase-{self.pk}"
