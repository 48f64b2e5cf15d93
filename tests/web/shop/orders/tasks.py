"""Tasks and functions of the workflows."""

from __future__ import annotations

import threading

from celery import shared_task
from django.db import connection

from tests.web.shop.orders.models import Note


@shared_task(name="orders.note")
def note(order: str, text: str) -> int:
    return Note.objects.create(order=order, text=text).pk


def count(order: str) -> int:
    return Note.objects.filter(order=order).count()


def local_note(order: str, text: str) -> str:
    """Names the thread that it ran in, which is left without an open connection."""
    Note.objects.create(order=order, text=text)
    thread = threading.current_thread()
    _left.append((thread, connection.alias))
    return thread.name


_left: list[tuple[threading.Thread, str]] = []
