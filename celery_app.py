"""The Celery application of this folder, built from the environment.

``REDIS_URL``               Redis for everything that the next two do not name
``CELERY_BROKER_URL``       broker
``CELERY_RESULT_BACKEND``   result backend
``ORCHESTRATION_CONFIG``    trees of definitions, separated by ``:``; default: ``config`` beside this file

Use it with ``celery -A celery_app worker``, or copy the two lines about Orchestration into an application you have.
"""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from orchestration import Orchestration

_redis_url = os.environ.get("REDIS_URL") or "redis://localhost:6379/0"

app = Celery(
    "orchestration",
    broker=os.environ.get("CELERY_BROKER_URL") or _redis_url,
    backend=os.environ.get("CELERY_RESULT_BACKEND") or _redis_url,
    include=["examples.tasks"],
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    enable_utc=True,
    timezone="UTC",
    worker_prefetch_multiplier=1,
)

orchestration = Orchestration(app, config=str(Path(__file__).parent / "config"))
