"""A Celery task that writes down what services do, where tests and all workers can see it."""

from __future__ import annotations

import os

import redis
from celery import shared_task


@shared_task(name="services.note")
def note(text: str) -> None:
    """Add a line to the notes."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.rpush("written", text)
