"""The Celery application of the workers of a :class:`tests.support.projects.Deployment`, built from its variables."""

from __future__ import annotations

import json
import os

from celery import Celery

from orchestration import Orchestration

_redis_url = os.environ["REDIS_URL"]

app = Celery(
    "project",
    broker=os.environ.get("CELERY_BROKER_URL") or _redis_url,
    backend=os.environ.get("CELERY_RESULT_BACKEND") or _redis_url,
    include=[name for name in os.environ.get("ORCHESTRATION_TEST_INCLUDE", "").split(",") if name],
)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)
if _expires := os.environ.get("ORCHESTRATION_TEST_RESULT_EXPIRES"):
    app.conf.result_expires = int(_expires)
app.conf.update(json.loads(os.environ.get("ORCHESTRATION_TEST_CELERY") or "{}"))
orchestration = Orchestration(app)
