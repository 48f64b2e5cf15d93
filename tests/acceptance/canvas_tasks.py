"""Celery tasks that meet workflows in canvases; imported by a worker with the extension and by one without."""

from __future__ import annotations

import threading
from typing import Any

from celery import Task, shared_task, signature


@shared_task(name="canvas.add")
def add(left: int, right: int) -> int:
    return left + right


@shared_task(name="canvas.echo")
def echo(value: Any = None) -> Any:
    return value


@shared_task(name="canvas.kinds")
def kinds(_: Any, *values: Any, **named: Any) -> list[str]:
    """What it was called with after a result, in words."""
    return [f"{type(value).__name__} {value}" for value in (*values, *named.values())]


@shared_task(name="canvas.fail")
def fail(*_: Any) -> None:
    raise ValueError("of the task")


@shared_task(name="canvas.become", bind=True)
def become(self: Task, _: Any, following: dict[str, Any]) -> Any:
    """Go on as another task."""
    raise self.replace(signature(following, app=self.app))


@shared_task(name="canvas.retries", bind=True, max_retries=3)
def retries(self: Task, value: int) -> int:
    """Give what it was given, the third time."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return value


_notes: dict[str, list[Any]] = {}


@shared_task(name="canvas.note")
def note(*values: Any, key: str) -> None:
    """A callback: writes down what it was given."""
    _notes.setdefault(key, []).append(list(values))


@shared_task(name="canvas.note_failure")
def note_failure(task_id: str, *, key: str) -> None:
    """An errback: Celery gives it the id of the task that failed."""
    _notes.setdefault(key, []).append(["failed", task_id])


_released = threading.Event()


@shared_task(name="canvas.hang")
def hang(request: Any, error: Exception, _: Any) -> None:
    """An errback that Celery calls where the task is marked as failed; it hangs until it is released."""
    _notes.setdefault(request.id, []).append(type(error).__name__)
    _released.wait(60)


@shared_task(name="canvas.release")
def release() -> None:
    _released.set()


@shared_task(name="canvas.noted")
def noted(key: str) -> list[Any]:
    return _notes.get(key, [])


@shared_task(name="canvas.describe")
def describe(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": list(args), "kwargs": kwargs}


@shared_task(name="canvas.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)
