"""How a run ended, read from its last event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestration.core import events, payload

__all__ = ["Outcome", "read_outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of a run.

    Attributes:
        ok: It has a result.
        value: The result, encoded.
        failure: What it ended with when it has none.
    """

    ok: bool
    value: bytes = payload.NIL
    failure: dict[str, Any] | None = None

    @property
    def encoded(self) -> bytes:
        """Result or failure, encoded."""
        return self.value if self.ok else payload.encode(self.failure)


def read_outcome(last_event: bytes | None) -> Outcome:
    """Read the outcome from the event that closed a run."""
    event = events.decode(last_event) if last_event is not None else None
    if isinstance(event, events.Complete):
        return Outcome(True, event.result)
    if isinstance(event, events.Fail):
        return Outcome(False, failure=payload.decode_failure(event.failure))
    if isinstance(event, events.Terminated):
        details = {"reason": event.reason} if event.reason else None
        failure = {"message": "workflow terminated", "kind": "Canceled", "retryable": False, "details": details}
        return Outcome(False, failure=failure)
    if isinstance(event, events.TimedOut):
        failure = {
            "message": f"workflow timed out ({event.timeout_type})",
            "kind": "Timeout",
            "retryable": False,
            "details": {"timeout_type": event.timeout_type},
        }
        return Outcome(False, failure=failure)
    if isinstance(event, events.ContinueAsNew):
        name = event.type or "the same workflow"
        message = f"upgrade: create failed: no workflow {name} is known to the worker"
        failure = {"message": message, "kind": "NotFound", "retryable": False}
        return Outcome(False, failure=failure)
    return Outcome(False, failure={"message": "the run has no outcome", "kind": "Internal"})
