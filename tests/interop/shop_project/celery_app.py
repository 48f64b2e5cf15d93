"""A Celery application as there are many: it has never heard of the package, and nothing of it is imported here."""

from __future__ import annotations

import os

from celery import Celery

app = Celery(
    "shop",
    broker=os.environ["SHOP_BROKER_URL"],
    backend=os.environ.get("SHOP_RESULT_BACKEND") or None,
    include=["shop_project.tasks"],
)
app.conf.update(
    task_default_queue="shop",
    task_create_missing_queues=False,
    task_queues={"shop": {}, "shop.mail": {}},
    task_routes={"shop.mail.*": {"queue": "shop.mail"}, "shop.*": {"queue": "shop"}},
    task_serializer="msgpack",
    accept_content=["json", "msgpack"],
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    result_expires=3600,
    beat_schedule={"count-stock": {"task": "shop.count_stock", "schedule": 0.5}},
    beat_schedule_filename=os.environ.get("SHOP_BEAT_FILE", "celerybeat-schedule"),
)
