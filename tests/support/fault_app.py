"""The Celery application of the fault tests: ordinary tasks over the ledger, each with one effect a key.

``celery -A tests.support.fault_app worker``. Variables: ``REDIS_URL``, ``CELERY_BROKER_URL``, the ledger's, and

``FAULTS_WORK_MS``  how long each body takes after its effect, default 10
``FAULTS_RELAY``    take messages from where :class:`tests.support.broker.Relay` puts them
"""

from __future__ import annotations

import os
import time
from typing import Any, Final

from celery import Celery, current_task

from examples.ledger import open_ledger
from orchestration import Orchestration, activity
from tests.support.workers import ROOT

__all__ = ["ACTIVITIES", "TREE", "app", "make_app"]

TREE: Final = ROOT / "tests" / "acceptance" / "trees" / "faults"
"""The definitions."""

ACTIVITIES: Final = ("reserve", "charge", "invoice", "pack", "label", "ship", "notify", "archive")
"""The activities of ``faults:order``, in order."""


def run_body(name: str, order_id: str, value: int) -> dict[str, Any]:
    """Run an activity: write the execution down, bring its effect about once, take a while."""
    key = activity.info().idempotency_key if activity.in_activity() else str(current_task.request.id)
    ledger = open_ledger()
    ledger.record_execution(name, order_id, key)
    ledger.bring_about(name, order_id, key, amount_cents=100 if name == "charge" else 0)
    time.sleep(int(os.environ.get("FAULTS_WORK_MS") or 10) / 1000)
    return {"name": name, "value": value * 3 + len(name)}


def make_app(redis_url: str, *, broker_url: str = "", orchestrated: bool = True, **settings: Any) -> Celery:
    """Make the application; with ``orchestrated=False`` a client that has never heard of workflows."""
    made = Celery("faults", broker=broker_url or redis_url, backend=redis_url, set_as_current=False)
    made.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1)
    if orchestrated:
        for name in ACTIVITIES:
            made.task(_body(name), name=f"faults.{name}", shared=False)
        Orchestration(made, config=str(TREE), **settings)
    return made


def _body(name: str) -> Any:
    def body(order_id: str, value: int) -> dict[str, Any]:
        return run_body(name, order_id, value)

    return body


if os.environ.get("FAULTS_RELAY"):
    from tests.support.broker import read_from_relay

    read_from_relay()

app = make_app(
    os.environ.get("REDIS_URL") or "redis://localhost:6379/0", broker_url=os.environ.get("CELERY_BROKER_URL") or ""
)
