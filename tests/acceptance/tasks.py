"""Celery tasks of the acceptance tests' projects."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="accept.add")
def add(left: int, right: int) -> int:
    return left + right
