"""Orders, and what their workflows did."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    name = models.CharField(max_length=100, unique=True)


class Note(models.Model):
    """Written by activities, so that each body that ran is counted."""

    order = models.CharField(max_length=100)
    text = models.CharField(max_length=200)
