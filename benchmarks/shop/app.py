"""The project's application and its one task; ``SHOP_EXTENSION`` adds the extension, which is then idle."""

from __future__ import annotations

import os
from pathlib import Path

import redis
from celery import Celery

URL = os.environ.get("SHOP_REDIS", "redis://")
app = Celery("shop", broker=URL, backend=URL)
app.conf.update(worker_hijack_root_logger=False, result_expires=600)
counter = redis.Redis.from_url(URL)


@app.task(name="shop.price")
def price(number: int) -> int:
    """A little work, a stored result."""
    counter.incr("done")
    return number * 2


if os.environ.get("SHOP_EXTENSION"):
    from orchestration import Orchestration

    orchestration = Orchestration(app, config=str(Path(__file__).parents[1] / "config"))
