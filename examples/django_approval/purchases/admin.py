"""Purchases in the admin, to be looked at."""

from __future__ import annotations

from django.contrib import admin

from purchases.models import Purchase

admin.site.register(Purchase, list_display=("what", "amount", "state", "asked_by", "decided_by"))
