"""Bodies of the tests of local activities: each writes its execution into a ledger that outlives its process."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from celery import Task, shared_task

from examples.ledger import Ledger
from orchestration import activity
from orchestration.errors import ApplicationError

__all__ = ["ledger_of"]

_gate = threading.Semaphore(0)


def ledger_of(folder: str | os.PathLike[str]) -> Ledger:
    return Ledger(Path(folder) / "bodies.sqlite")


def _note(name: str, subject: str) -> int:
    key = activity.info().idempotency_key
    ledger = ledger_of(os.environ["ORCHESTRATION_TEST_FOLDER"])
    ledger.bring_about(name, subject, key)
    return ledger.record_execution(name, subject, key)


@shared_task(name="local.work")
def work(subject: str, value: Any = None, seconds: float = 0, failures: int = 0) -> Any:
    """Fail so often, take so long, give the value back."""
    if _note("work", subject) <= failures:
        raise ApplicationError("not yet", kind="Unavailable")
    time.sleep(seconds)
    return value


@shared_task(name="local.facts")
def facts() -> dict[str, Any]:
    known = activity.info()
    return {
        "workflow_id": known.workflow_id, "run_id": known.run_id, "workflow_type": known.workflow_type,
        "target": known.target, "seq": known.seq, "attempt": known.attempt, "context": known.context,
        "thread": threading.current_thread().name, "key": known.idempotency_key,
    }  # fmt: skip


@shared_task(name="local.dies")
def dies(subject: str) -> int:
    """Kill the process in the middle of the first execution."""
    count = _note("dies", subject)
    if count == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return count


@shared_task(name="local.own_retry", bind=True, max_retries=3)
def own_retry(self: Task, subject: str, times: int) -> dict[str, int]:
    """Use Celery's own retry so often."""
    _note("own_retry", subject)
    if self.request.retries < times:
        raise self.retry(countdown=0.02)
    return {"retries": self.request.retries, "attempt": activity.info().attempt}


@shared_task(name="local.progress")
def progress(subject: str, seconds: float) -> Any:
    """Say how far it is, take long in the first attempt, tell what the attempt before has said."""
    _note("progress", subject)
    before = activity.info().heartbeat_details
    if before is None:
        activity.heartbeat({"page": 7})
        time.sleep(seconds)
        raise ApplicationError("lost the thread")
    return before


@shared_task(name="local.uncarried")
def uncarried() -> Any:
    return {1, 2}


@shared_task(name="local.exits")
def exits() -> None:
    raise SystemExit(3)


@shared_task(name="local.waits")
def waits(subject: str) -> str:
    """Work until somebody opens the gate, or nobody wants the outcome."""
    _note("waits", subject)
    for _ in range(400):
        activity.heartbeat()
        if _gate.acquire(timeout=0.025):
            return "opened"
    return "never"


@shared_task(name="local.opens")
def opens() -> None:
    _gate.release()
