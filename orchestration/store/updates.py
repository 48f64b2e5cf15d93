"""Updates: requests to a run that its sender waits for, delivered once by their id and answered once."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgpack

from orchestration.core import payload
from orchestration.store.base import NO_PUSHES, Aggregate, text
from orchestration.store.connection import Subscription
from orchestration.store.results import Delivery, Pushes
from orchestration.types import RunId

__all__ = ["ACCEPTED", "UpdateState", "UpdateStatus", "Updates", "encode_answer"]

ACCEPTED = b"a"
"""What stands for an update whose handler is at work."""


class UpdateStatus(enum.Enum):
    """How far an update has come."""

    UNKNOWN = "unknown"
    """The run has not been sent it."""
    UNREAD = "unread"
    """It is in the run's inbox."""
    ACCEPTED = "accepted"
    """It is in the history, its handler is at work."""
    DONE = "ok"
    """Its handler has returned a result."""
    FAILED = "failed"
    """Its handler has returned or raised an error."""
    REJECTED = "rejected"
    """There is no handler for it, or its validator refused it: the history has nothing of it."""


@dataclass(frozen=True, slots=True)
class UpdateState:
    """Where an update stands.

    Attributes:
        status: How far it has come.
        value: The result or the failure, encoded.
        run_status: Status of the run; empty when the run is not known.
        next_run: The run that took the place of one that has ended, and what it had not read; empty for none.
    """

    status: UpdateStatus
    value: bytes = payload.NIL
    run_status: str = ""
    next_run: str = ""

    @property
    def is_answered(self) -> bool:
        """Whether the answer is there."""
        return self.status in (UpdateStatus.DONE, UpdateStatus.FAILED, UpdateStatus.REJECTED)


def encode_answer(status: UpdateStatus, value: bytes) -> bytes:
    """Encode the answer to an update as a commit stores it."""
    packed: bytes = msgpack.packb([status.value, value], use_bin_type=True)
    return packed


class Updates(Aggregate):
    """The verbs of updates; their answers are written by the commit of the step that gives them."""

    def send(self, run_id: RunId, update_id: str, item: bytes, *, pushes: Pushes = NO_PUSHES) -> Delivery:
        """Put an update into a run's inbox, once for its id. Safe to repeat.

        Args:
            run_id: The run.
            update_id: Id of the update, unique in its run.
            item: The input, encoded without its time.
            pushes: The wake-up, given out if one is needed.

        Returns:
            ``accepted``, ``wake``, ``duplicate``, ``closed`` or ``full``.
        """
        keys = self._keyspace.of_run(run_id)
        with self._claims.of_run(run_id) as write:
            reply = self._run(
                "send_update",
                [keys.record(run_id), keys.inbox(run_id), keys.ready, keys.updates(run_id)],
                run_id,
                update_id,
                write.input(item),
                self._options.grace_ms,
                self._pack_pushes(pushes),
                self._options.inbox_bound,
                self._options.updates_bound,
            )
        return self._delivery(run_id, reply)

    def read(self, run_id: RunId, update_id: str) -> UpdateState:
        """Where an update stands, and its run.

        Raises:
            CorruptHistoryError: Its answer is offloaded, and cannot be read.
        """
        keys = self._keyspace.of_run(run_id)
        # In this order: where the run has ended, the answer cannot come any more.
        record, answer = self._connection.pipeline(
            [["HMGET", keys.record(run_id), "status", "next"], ["HGET", keys.updates(run_id), update_id]]
        )
        where, following = (text(part) if part is not None else "" for part in record)
        if answer is None:
            return UpdateState(UpdateStatus.UNKNOWN, run_status=where, next_run=following)
        if answer in (b"", ACCEPTED):
            status = UpdateStatus.ACCEPTED if answer else UpdateStatus.UNREAD
            return UpdateState(status, run_status=where, next_run=following)
        answer = self._claims.whole(answer, run_id, f"the answer to update {update_id!r}")
        name, value = msgpack.unpackb(answer, raw=False)
        return UpdateState(UpdateStatus(name), value, where, following)

    def subscribe(self, run_id: RunId) -> Subscription:
        """Listen for answers of a run, its beginning and its end."""
        keys = self._keyspace.of_run(run_id)
        return self._connection.subscribe(keys.told_channel(run_id), keys.done_channel(run_id))

    def told_channel(self, run_id: RunId) -> str:
        """Channel that commits tell of answers and of the run's beginning."""
        return self._keyspace.of_run(run_id).told_channel(run_id)
