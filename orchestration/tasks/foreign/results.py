"""Results that workers without the extension have stored, read through Celery's own backends."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Celery, states
from celery.exceptions import SecurityError
from kombu.exceptions import SerializationError, SerializerNotInstalled

from orchestration.core import payload
from orchestration.core.failures import failure_of
from orchestration.errors import ApplicationError, EncodeError, PayloadTooLargeError
from orchestration.tasks.outcomes import Outcome

__all__ = ["ResultsAwayError", "StoredResult", "StoredResults"]

logger = logging.getLogger(__name__)


class ResultsAwayError(Exception):
    """The result backend does not answer: what it has is not known."""


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What the result backend has of a task.

    Attributes:
        state: As Celery calls it; ``PENDING`` when there is nothing.
        value: The result, or the exception.
    """

    state: str
    value: Any

    @property
    def is_ready(self) -> bool:
        """Whether the task has ended."""
        return self.state in states.READY_STATES

    def outcome(self, target: str, limit: int) -> Outcome:
        """How the attempt has ended.

        Args:
            target: Entry id that was called, for messages.
            limit: Most bytes of a result.
        """
        if self.state == states.SUCCESS:
            return completed(self.value, target, limit)
        return Outcome("failed", failure=self._failure(target))

    def _failure(self, target: str) -> dict[str, Any]:
        if self.state == states.REVOKED:
            details = {"state": self.state}
            return _failure(f"the task of {target} was revoked", "Canceled", details, retryable=False)
        error = self.value
        if self.state not in states.EXCEPTION_STATES or not isinstance(error, BaseException):
            text = (
                f"{target} failed on a worker without the extension, and its error is not in the result backend "
                f"(state {self.state})"
            )
            return _failure(text, "Internal", {"state": self.state})
        failure, name = failure_of(error), type(error).__name__
        details = {**(failure.get("details") or {}), "exception": name}
        if name in _KINDS:
            kind, retryable, more = _KINDS[name]
            return _failure(failure["message"], kind, {**details, **more}, retryable=retryable)
        return failure


_KINDS: Mapping[str, tuple[str, bool | None, Mapping[str, Any]]] = {
    "NotRegistered": ("NotFound", True, {}),
    "WorkerLostError": ("Unavailable", None, {"worker_lost": True}),
    "Terminated": ("Unavailable", None, {"worker_lost": True}),
    "TimeLimitExceeded": ("Timeout", None, {"timeout_type": "time_limit"}),
    "Reject": ("Unavailable", False, {}),
    "EncodeError": ("Invalid", False, {}),
}
"""What Celery itself makes a task fail with: kind, whether it may be retried, more details."""


def completed(value: Any, target: str, limit: int) -> Outcome:
    """A result as an outcome; one that cannot be carried is a failure, as on workers with the extension."""
    try:
        return Outcome("completed", payload.encode(value, limit=limit))
    except (EncodeError, PayloadTooLargeError) as error:
        what = f"the result of {target} cannot be carried: {error}"
        return Outcome("failed", failure=failure_of(ApplicationError(what, kind="Invalid", retryable=False)))


def _failure(message: str, kind: str, details: Mapping[str, Any], *, retryable: bool | None = None) -> dict[str, Any]:
    failure: dict[str, Any] = {"message": message, "kind": kind, "details": dict(details)}
    return failure if retryable is None else {**failure, "retryable": retryable}


class StoredResults:
    """Reads results of tasks, and forgets them.

    Args:
        app: The Celery application; its workers without the extension have to share its result backend.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def read(self, task: str, task_id: str) -> StoredResult:
        """What is stored of one task; ``PENDING`` also where there is no backend to ask, or it cannot be understood.

        Raises:
            ResultsAwayError: The backend does not answer.
        """
        found: dict[str, StoredResult] = {}
        for backend, task_ids in self._by_backend({task_id: task}):
            try:
                found = _read(backend, task_ids)
            except Exception as error:
                raise ResultsAwayError(f"the result of task {task_id} cannot be read: {error}") from error
        return found.get(task_id, StoredResult(states.PENDING, None))

    def read_many(self, tasks: Mapping[str, str]) -> dict[str, StoredResult]:
        """What is stored of some tasks, in one round trip where the backend has many at once.

        Args:
            tasks: Names of the tasks, by task id.

        Returns:
            By task id; what has not been stored is left out.
        """
        found: dict[str, StoredResult] = {}
        for backend, task_ids in self._by_backend(tasks):
            try:
                found.update(_read(backend, task_ids))
            except Exception as error:  # noqa: BLE001 - a backend that is away, or a result in a form it refuses
                logger.warning("results cannot be read: %s", error, extra={"count": len(task_ids)})
        return found

    def forget(self, tasks: Mapping[str, str]) -> None:
        """Delete the results of some tasks; arguments as those of :meth:`read_many`."""
        for backend, task_ids in self._by_backend(tasks):
            for task_id in task_ids:
                try:
                    backend.forget(task_id)
                except Exception as error:  # noqa: BLE001 - they expire
                    logger.info("a result cannot be deleted: %s", error, extra={"task_id": task_id})

    def _by_backend(self, tasks: Mapping[str, str]) -> Iterable[tuple[Any, list[str]]]:
        groups: dict[int, tuple[Any, list[str]]] = {}
        for task_id, name in tasks.items():
            known = self._app.tasks.get(name)
            backend = known.backend if known is not None else self._app.backend
            if hasattr(backend, "_get_task_meta_for"):  # not RPC, where only the sender is told; not the disabled one
                groups.setdefault(id(backend), (backend, []))[1].append(task_id)
        return groups.values()


def _read(backend: Any, task_ids: list[str]) -> dict[str, StoredResult]:
    found = {}
    for task_id, read in _readers(backend, task_ids):
        try:
            meta = read()
        except UNREADABLE as error:
            logger.warning("a result cannot be understood: %s", error, extra={"task_id": task_id})
            continue
        if meta["status"] != states.PENDING:
            found[task_id] = StoredResult(str(meta["status"]), meta.get("result"))
    return found


UNREADABLE = (
    SerializationError, SerializerNotInstalled, SecurityError, ValueError, TypeError, LookupError, AttributeError,
    ImportError,
)  # fmt: skip
"""What decoding a result raises; the others of a batch are none the worse for it."""


def _readers(backend: Any, task_ids: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What reads each task; not by ``get_many``, which tells of those alone that have ended."""
    values: Any = None
    if len(task_ids) > 1 and hasattr(backend, "mget"):
        with contextlib.suppress(NotImplementedError):
            values = backend.mget([backend.get_key_for_task(task_id) for task_id in task_ids])
    if values is None:
        for task_id in task_ids:
            yield task_id, partial(backend.get_task_meta, task_id, cache=False)
        return
    if hasattr(values, "items"):  # memcached
        by_id = {backend._strip_prefix(key): value for key, value in values.items()}
        values = [by_id.get(task_id) for task_id in task_ids]
    for task_id, value in zip(task_ids, values, strict=True):
        if value is not None:
            yield task_id, partial(backend.decode_result, value)
