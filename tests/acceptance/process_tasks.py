"""Celery tasks that processes call."""

from __future__ import annotations

import os
import time

from celery import current_task, shared_task


@shared_task(name="tests.where")
def where(pause_s: float = 0.0) -> dict[str, object]:
    time.sleep(pause_s)
    return {"pid": os.getpid(), "as_task": bool(current_task and current_task.request.hostname)}


@shared_task(name="tests.fails")
def fails(text: str) -> None:
    raise ValueError(text)
