"""Activities completed from anywhere, by whoever has the token of an attempt."""

from __future__ import annotations

from typing import Any

from orchestration.activity import Cancelled
from orchestration.core import payload
from orchestration.core.failures import failure_of
from orchestration.errors import ActivityClosedError, ActivityTokenError, ApplicationError, WorkflowNotFoundError
from orchestration.store.results import Delivery
from orchestration.tasks.effects import read_activity
from orchestration.tasks.outcomes import completed_item, failed_item
from orchestration.tasks.tokens import decode_token

__all__ = ["ExternalActivity"]

_NOBODY = "-"
"""Owner of no claim: whoever reports here is not the process that ran the body."""


class ExternalActivity:
    """An attempt that is completed by somebody who has its token.

    Args:
        parts: Of this process.
        token: What ``activity.token()`` gave to the body.

    Raises:
        ActivityTokenError: It is no token, or one of another deployment.
    """

    def __init__(self, parts: Any, token: str) -> None:
        self._runtime, self._attempts = parts.runtime, parts.attempts
        self._namespace, self._attempt = decode_token(token)
        if self._namespace not in self._runtime.namespaces:
            text = f"the token is of namespace {self._namespace!r}, which no workflow here is kept in"
            raise ActivityTokenError(text, "Invalid", False)
        self._store = self._runtime.store(self._namespace)
        a = self._attempt
        self._request = f"ext/{a.run_id}/{a.seq}/{a.attempt}/{a.token}"

    def complete(self, result: Any) -> None:
        """Give the activity its result."""
        item = completed_item(self._attempt, payload.encode(result, limit=self._runtime.settings.value_limit_bytes))
        self._check(self._settle("completed", item), "completed")

    def fail(self, error: BaseException | str) -> None:
        """Report that the attempt has failed; the retry policy decides what follows."""
        failure = failure_of(ApplicationError(error) if isinstance(error, str) else error)
        found = self._store.attempts.read(self._attempt.run_id, self._attempt.seq)
        activity = read_activity(found[0]) if found else None
        if found is None or activity is None:  # closed, perhaps by this very report
            self._check(self._settle("failed", failed_item(self._attempt, failure, {})), "failed", "retry")
            return
        delivery = self._attempts.decide(
            self._namespace, self._attempt, self._queue(), activity, found[1], failure, claimed_by=_NOBODY,
            request_id=self._request,
        )  # fmt: skip
        self._check(delivery, "failed", "retry")

    def heartbeat(self, details: Any) -> None:
        """Say that somebody is at work on it."""
        encoded = b"" if details is None else payload.encode(details, limit=self._runtime.settings.payload_bytes)
        self._queue()
        found = self._store.attempts.read(self._attempt.run_id, self._attempt.seq)
        activity = read_activity(found[0]) if found else None
        beat_ms = activity.beat_ms if activity else 0
        why = self._store.attempts.heartbeat(self._attempt, details=encoded, beat_ms=beat_ms)
        if why == "cancelled":
            raise Cancelled("operation canceled", kind="Canceled", retryable=False)
        if why:
            raise self._closed(why)

    def _queue(self) -> str:
        try:
            return str(self._store.runs.record(self._attempt.run_id).fields.get("queue", ""))
        except (WorkflowNotFoundError, ValueError) as error:
            text = "the run of this activity is not known: its retention is over, or it is of another store"
            raise ActivityClosedError(text, "NotFound", False) from error

    def _settle(self, outcome: str, item: bytes) -> Delivery:
        delivery: Delivery = self._attempts.settle(
            self._namespace, self._attempt, self._queue(), outcome=outcome, item=item, claimed_by=_NOBODY,
            request_id=self._request,
        )  # fmt: skip
        return delivery

    def _check(self, delivery: Delivery, *outcomes: str) -> None:
        if delivery.status == "dropped":
            raise self._closed(delivery.detail)
        if delivery.status == "duplicate" and delivery.detail not in outcomes:
            how = "completed" if delivery.detail == "completed" else "reported as failed"
            raise self._closed(f"it has been {how} by its token")

    def _closed(self, why: str) -> ActivityClosedError:
        a = self._attempt
        text = f"attempt {a.attempt} of activity {a.seq} of run {a.run_id} is not open any more: {why}"
        return ActivityClosedError(text, "Conflict", False)
