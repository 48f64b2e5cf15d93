"""Tasks and functions of the workflows."""

from __future__ import annotations

import threading
from typing import Any

from celery import shared_task
from django.db import connections

from tests.web.shop.orders.models import Note


@shared_task(name="orders.note")
def note(order: str, text: str) -> int:
    return Note.objects.create(order=order, text=text).pk


def count(order: str) -> int:
    return Note.objects.filter(order=order).count()


_used: list[Any] = []
"""Connections of threads that have run :func:`local_note`."""


def local_note(order: str, text: str) -> list[Any]:
    """Says which thread it runs in, and whether the connections of those before it are closed."""
    Note.objects.create(order=order, text=text)
    closed = [used.connection is None for used in _used]
    _used.append(connections["default"])
    return [threading.current_thread().name, closed]
