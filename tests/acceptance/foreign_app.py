"""A Celery application that has never heard of the extension."""

from __future__ import annotations

import os

from celery import Celery

_redis_url = os.environ["REDIS_URL"]

app = Celery(
    "foreign",
    broker=os.environ.get("CELERY_BROKER_URL") or _redis_url,
    backend=os.environ.get("CELERY_RESULT_BACKEND") or _redis_url,
    include=["tests.acceptance.canvas_tasks"],
)
app.conf.update(
    broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1, task_default_queue="foreign",
)
