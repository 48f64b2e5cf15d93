"""Celery tasks of the acceptance tests' projects; they keep what they have seen in memory, for pools of threads."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Task, shared_task

from orchestration import activity
from orchestration.errors import ApplicationError

_seen: dict[str, list[float]] = {}
_release = threading.Event()


def _note(key: str) -> int:
    times = _seen.setdefault(key, [])
    times.append(time.time())
    return len(times)


@shared_task(name="accept.add")
def add(left: int, right: int) -> int:
    return left + right


@shared_task(name="accept.echo")
def echo(value: Any) -> Any:
    return value


@shared_task(name="accept.seen")
def seen(key: str) -> list[float]:
    """When the bodies that noted this key began."""
    return _seen.get(key, [])


@shared_task(name="accept.flaky")
def flaky(key: str, failures: int, kind: str = "Unavailable", retryable: bool | None = None) -> int:
    """Fail so often, then give the number of the attempt."""
    if _note(key) <= failures:
        raise ApplicationError("not yet", kind=kind, retryable=retryable, details={"key": key})
    return activity.info().attempt


class OutOfPaper(Exception):
    """An exception that nobody maps."""


@shared_task(name="accept.raises")
def raises(key: str, name: str) -> None:
    _note(key)
    raise {"OutOfPaper": OutOfPaper, "KeyError": KeyError, "TimeoutError": TimeoutError}[name]("of the body")


@shared_task(name="accept.sleeps")
def sleeps(key: str, seconds: float, only_first: bool = False) -> str:
    """Take long; the next attempt does not, if only the first is to."""
    if not only_first or activity.info().attempt == 1:
        _note(key)
        time.sleep(seconds)
    return "slept"


@shared_task(name="accept.beats")
def beats(key: str, pages: int, stop_after: int, every: float = 0.05) -> dict[str, Any]:
    """Go through pages with a heartbeat for each; the first attempt hangs after some, the next goes on from there."""
    info = activity.info()
    _note(key)
    first = (info.heartbeat_details or {}).get("page", 0) + 1
    for page in range(first, pages + 1):
        activity.heartbeat({"page": page})
        time.sleep(every)
        if info.attempt == 1 and page == stop_after:
            time.sleep(1.5)
    return {"attempt": info.attempt, "first": first}


@shared_task(name="accept.until_cancelled")
def until_cancelled(key: str) -> None:
    """Work until a heartbeat says that nobody wants the outcome."""
    for _ in range(400):
        try:
            activity.heartbeat()
        except activity.Cancelled:
            _note(key)
            raise
        time.sleep(0.025)


@shared_task(name="accept.info")
def info(failures: int = 0) -> dict[str, Any]:
    known = activity.info()
    facts = {
        "workflow_id": known.workflow_id, "run_id": known.run_id, "workflow_type": known.workflow_type,
        "target": known.target, "seq": known.seq, "attempt": known.attempt, "context": known.context,
        "key": known.idempotency_key, "inside": activity.in_activity(),
    }  # fmt: skip
    _seen.setdefault(f"keys of {known.run_id}/{known.seq}", []).append(known.idempotency_key)  # type: ignore[arg-type]
    if known.attempt <= failures:
        raise ApplicationError("again")
    return facts


@shared_task(name="accept.outside")
def outside() -> str:
    """Called as a plain task: there is no activity."""
    try:
        activity.info()
    except activity.NotInActivityError as error:
        return f"{activity.in_activity()}: {error}"
    return "inside"


@shared_task(name="accept.own_retry", bind=True, max_retries=5)
def own_retry(self: Task, key: str, times: int) -> dict[str, int]:
    """Use Celery's own retry so often."""
    _note(key)
    if self.request.retries < times:
        raise self.retry(countdown=0.1, exc=OutOfPaper("once more"))
    return {"retries": self.request.retries, "attempt": activity.info().attempt}


@shared_task(name="accept.retry_at", bind=True)
def retry_at(self: Task, key: str, wait_s: float) -> int:
    """Use Celery's own retry with a time that has no timezone, which Celery takes for UTC."""
    _note(key)
    if not self.request.retries:
        raise self.retry(eta=datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=wait_s))
    return activity.info().attempt


@shared_task(name="accept.autoretry", autoretry_for=(OutOfPaper,), max_retries=1, default_retry_delay=0)
def autoretry(key: str) -> None:
    _note(key)
    raise OutOfPaper("for ever")


@shared_task(name="accept.uncarried")
def uncarried(what: str) -> Any:
    """Return what cannot be carried."""
    return {"set": {1, 2}, "object": {"deep": [threading.Lock()]}, "key": {1: "a"}, "large": 2**64}[what]


@shared_task(name="accept.bytes")
def some_bytes(count: int) -> str:
    return "x" * count


_remembered: list[list[Any]] = []


@shared_task(name="accept.remember")
def remember(*values: Any) -> None:
    """A callback: writes down what it was given."""
    _remembered.append(list(values))


@shared_task(name="accept.remember_failure")
def remember_failure(task_id: str) -> None:
    """An errback: Celery gives it the id of the task that failed."""
    _remembered.append(["failed", task_id])


@shared_task(name="accept.remembered")
def remembered() -> list[list[Any]]:
    return _remembered


_tokens: dict[str, list[str]] = {}


@shared_task(name="accept.asks_outside")
def asks_outside(key: str, ends: bool = True) -> Any:
    """Leave the outcome to somebody who has the token."""
    _note(key)
    _tokens.setdefault(key, []).append(activity.token())
    details = activity.info().heartbeat_details
    if details is None and ends:
        activity.complete_later()
    return "by itself" if details is None else details


@shared_task(name="accept.tokens")
def tokens(key: str) -> list[str]:
    return _tokens.get(key, [])


@shared_task(name="accept.watches")
def watches(key: str, ack: bool = True, after: float = 0) -> str:
    """Work until it is cancelled; then say so, or be done all the same."""
    _note(f"{key} began")
    for _ in range(2000):
        if activity.is_cancelled():
            _note(key)
            time.sleep(after)
            if ack:
                activity.raise_if_cancelled()
            return "done all the same"
        time.sleep(0.005)
    return "never cancelled"


@shared_task(name="accept.asks_for_pause")
def asks_for_pause(key: str, seconds: float) -> int:
    """Fail once, and name the pause before the next attempt."""
    if _note(key) == 1:
        raise ApplicationError("later", retry_after=seconds)
    return activity.info().attempt
