"""Tasks of the shop, with what people use: retries, limits, routing, canvas, beat."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import time

from celery import chord, shared_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

LEDGER = pathlib.Path(os.environ.get("SHOP_LEDGER", "/tmp"))


def note(key):
    """Write down that a body has begun; returns how often it has by now."""
    with (LEDGER / f"{key}.ledger").open("a+") as file:
        file.write(f"{os.getpid()}\n")
        file.seek(0)
        return len(file.readlines())


class OutOfStock(Exception):
    """An exception of the shop's own."""


class Busy(Exception):
    """Something that passes."""


@shared_task(name="shop.price")
def price(sku, amount=1):
    return {"sku": sku, "cents": 250 * amount}


@shared_task(name="shop.who", bind=True)
def who(self):
    """What is known here of the package, and what the message brought."""
    return {
        "extension": hasattr(self.app, "orchestration") or "orchestration.report" in self.app.tasks,
        "headers": sorted(self.request.headers or {}),
        "key": ((self.request.headers or {}).get("orchestration") or [None] * 13)[12],
        "python": sys.version_info[0],
    }


@shared_task(name="shop.reserve")
def reserve(key, sku):
    note(key)
    raise OutOfStock(f"no {sku} left")


@shared_task(name="shop.ship", autoretry_for=(Busy,), max_retries=3, retry_backoff=False, default_retry_delay=0)
def ship(key, times):
    if note(key) <= times:
        raise Busy("the carrier is busy")
    return {"shipped": True}


@shared_task(name="shop.pack", bind=True, max_retries=5)
def pack(self, key, times):
    if note(key) <= times:
        raise self.retry(countdown=0.1)
    return {"retries": self.request.retries}


@shared_task(name="shop.slow", bind=True)
def slow(self, key, seconds):
    note(key)
    time.sleep(seconds)
    return {"id": self.request.id}


@shared_task(name="shop.once_slow")
def once_slow(key, seconds):
    """Take long when called for the first time."""
    if note(key) == 1:
        time.sleep(seconds)
    return "done"


@shared_task(name="shop.soft", soft_time_limit=1)
def soft(key):
    note(key)
    time.sleep(30)


@shared_task(name="shop.soft_caught", soft_time_limit=1)
def soft_caught(key):
    note(key)
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "cleaned up"


@shared_task(name="shop.hard", time_limit=1)
def hard(key):
    note(key)
    time.sleep(30)


@shared_task(name="shop.ignores")
def ignores(key):
    note(key)
    raise Ignore


@shared_task(name="shop.rejects")
def rejects(key):
    note(key)
    raise Reject("not for us", requeue=False)


@shared_task(name="shop.dies")
def dies(key, times=99):
    if note(key) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@shared_task(name="shop.quiet", ignore_result=True)
def quiet(key, fails=False):
    """A task whose result nobody is to store."""
    note(key)
    if fails:
        raise OutOfStock("quietly")
    return "quiet"


@shared_task(name="shop.odd")
def odd():
    """A result that JSON does not know."""
    return {1, 2, 3}


@shared_task(name="shop.mail.send")
def send_mail(to):
    return f"sent to {to}"


@shared_task(name="shop.total")
def total(parts):
    return sum(part["cents"] for part in parts)


@shared_task(name="shop.invoice", bind=True)
def invoice(self, skus):
    """A task that becomes a canvas."""
    return self.replace(chord([price.s(sku) for sku in skus], total.s()))


@shared_task(name="shop.count_stock")
def count_stock():
    note("beat")
    return 7
