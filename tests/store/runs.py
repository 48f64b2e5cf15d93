"""Shorthands for the store's verbs, with everything that a test does not care about filled in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from orchestration.store.attempts import AttemptId, Claim, first_state
from orchestration.store.keys import ShardKeys
from orchestration.store.results import Delivery, Lease, Pushes, StartResult, Step, Sweep
from orchestration.types import RunId
from tests.store.backends import Backend

__all__ = ["DIGEST", "RETENTION_MS", "Runs"]

RETENTION_MS = 7 * 86_400_000
DIGEST = "d" * 64


class Runs:
    """The verbs as a test wants to say them.

    Args:
        backend: The store.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.store = backend.store
        self._numbers = itertools.count(1)

    def number(self) -> str:
        return str(next(self._numbers))

    def keys(self, run_id: str) -> ShardKeys:
        return self.backend.keyspace.of_run(run_id)

    def start(self, workflow_id: str = "order-1", **changed: Any) -> StartResult:
        options: dict[str, Any] = {
            "request_id": f"request-{self.number()}",
            "digest": DIGEST,
            "bundle": b"code",
            "fields": {"type": "shop:order", "queue": "orders"},
            "extra": {"outer": b"\x80"},
            "inputs": [b"\x92\x01\xc4\x00"],
            **changed,
        }
        run_id = options.pop("run_id", None) or self.store.runs.new_id(workflow_id)
        return self.store.runs.start(run_id, workflow_id, **options)

    def started(self, workflow_id: str = "order-1", **changed: Any) -> RunId:
        result = self.start(workflow_id, **changed)
        assert result.status == "started"
        return result.run_id

    def lease(self, run_id: RunId, owner: str = "me") -> Lease:
        delivery = self.store.runs.take_lease(run_id, owner)
        assert delivery.lease is not None, delivery
        return delivery.lease

    def step(self, *ops: Sequence[Any], **changed: Any) -> Step:
        options: dict[str, Any] = {
            "workflow_id": "order-1",
            "digest": DIGEST,
            "commit_id": f"commit-{self.number()}",
            "owner": "me",
            "consumed": 1,
            "dropped": 0,
            "events": [b"event"],
            "ops": list(ops),
            **changed,
        }
        return Step(**options)

    def commit(self, lease: Lease, *ops: Sequence[Any], **changed: Any) -> Delivery:
        return self.store.runs.commit(lease, self.step(*ops, **{"consumed": len(lease.inputs), **changed}))

    def sleeping(self, *ops: Sequence[Any], workflow_id: str = "order-1", **started: Any) -> RunId:
        """A run whose first step is done, with these effects."""
        run_id = self.started(workflow_id, **started)
        delivery = self.commit(self.lease(run_id), *[_of(run_id, op) for op in ops], workflow_id=workflow_id)
        assert delivery.status == "done"
        return run_id

    def with_activity(self, seq: int = 1) -> AttemptId:
        """A run that waits for an activity, whose message is out."""
        run_id = self.sleeping(
            ["open", str(seq), b"activity"], ["open", f"{seq}:s", first_state("token")], ["sent", f"RUN/{seq}"],
            ["timer", f"RUN/{seq}/start", self.backend.now_ms() + 60_000],
            ["timer", f"RUN/{seq}/whole", self.backend.now_ms() + 600_000],
        )  # fmt: skip
        return AttemptId(run_id, seq, 1, "token")

    def with_timer(self, delay_ms: int = 1_000, seq: int = 1) -> RunId:
        """A run that waits for a timer."""
        due = self.backend.now_ms() + delay_ms
        return self.sleeping(["open", str(seq), b"t"], ["timer", f"RUN/{seq}/timer", due])

    def claim(self, attempt: AttemptId, **changed: Any) -> Claim:
        options: dict[str, Any] = {
            "owner": "worker",
            "nonce": f"nonce-{self.number()}",
            "close_ms": 30_000,
            "beat_ms": 5_000,
            "queue": "orders",
            **changed,
        }
        return self.store.attempts.claim(attempt, **options)

    def report(self, attempt: AttemptId, outcome: str = "completed", **changed: Any) -> Delivery:
        options: dict[str, Any] = {"item": outcome.encode(), "claimed_by": "worker", **changed}
        return self.store.attempts.report(attempt, outcome=outcome, **options)

    def ended(self, workflow_id: str = "order-1", status: str = "completed", **changed: Any) -> RunId:
        run_id = self.started(workflow_id, **changed)
        assert self.commit(self.lease(run_id), workflow_id=workflow_id, ending=status).status == "done"
        return run_id

    def sweep(self, **changed: int) -> Sweep:
        options = {
            "limit": 10, "hold_ms": 2_000, "horizon_ms": 10_000, "eta_max": 100, "overdue_ms": 500,
            "unclaimed_ms": 5_000, **changed,
        }  # fmt: skip
        return self.store.timers.sweep(self.store.timers.shards[0], **options)

    def inbox(self, run_id: str) -> list[bytes]:
        items: list[bytes] = self.backend.call("LRANGE", self.keys(run_id).inbox(run_id), 0, -1)
        return items

    def members(self, key: str) -> dict[str, int]:
        pairs = self.backend.call("ZRANGE", key, 0, -1, "WITHSCORES")
        return {member.decode(): int(score) for member, score in pairs}

    def push(self, queue: str = "broker:orders", message: bytes = b"wake") -> Pushes:
        """One broker message, given out in the store's own database."""
        return Pushes(self.backend.connection.database, (("lpush", queue, message),))

    def queue(self, queue: str = "broker:orders") -> list[bytes]:
        items: list[bytes] = self.backend.call("LRANGE", queue, 0, -1)
        return items


def _of(run_id: str, op: Sequence[Any]) -> list[Any]:
    return [part.replace("RUN", run_id) if isinstance(part, str) else part for part in op]
