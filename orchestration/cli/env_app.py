"""A Celery application made of the environment, for folders that have definitions and no application.

``REDIS_URL``, ``CELERY_BROKER_URL``, ``CELERY_RESULT_BACKEND`` and ``ORCHESTRATION_*`` say all there is to say. It is a
module of its own, since worker processes load it by name.
"""

from __future__ import annotations

import os

from celery import Celery

from orchestration.tasks.app import Orchestration

__all__ = ["app"]

_redis_url = os.environ.get("REDIS_URL") or os.environ.get("ORCHESTRATION_REDIS_URL") or None

app = Celery(
    "orchestration",
    broker=os.environ.get("CELERY_BROKER_URL") or _redis_url,
    backend=os.environ.get("CELERY_RESULT_BACKEND") or _redis_url,
    set_as_current=True,
)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)
Orchestration(app)
