"""Activity attempts: claimed by one process, kept alive, reported once, sent again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from orchestration.store.base import NO_PUSHES, Aggregate, text
from orchestration.store.results import Delivery, Pushes
from orchestration.types import RunId

__all__ = ["AttemptId", "AttemptState", "Attempts", "Claim"]

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class AttemptId:
    """Identity of one attempt.

    Attributes:
        run_id: The run that asked for it.
        seq: Number of the command in the run.
        attempt: Counted from 1.
        token: Random, of the scheduled command.
    """

    run_id: RunId
    seq: int
    attempt: int
    token: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Answer to a claim.

    Attributes:
        granted: Whether the body may run.
        why: Why not.
        time_ms: Redis' time.
        details: What the last heartbeat of an earlier attempt left, encoded; empty for nothing.
        sent_ms: When its message was sent last; 0 when that is not known.
    """

    granted: bool
    why: str = ""
    time_ms: int = 0
    details: bytes = b""
    sent_ms: int = 0


@dataclass(frozen=True, slots=True)
class AttemptState:
    """Where an activity stands.

    Attributes:
        attempt: The open attempt.
        token: Of the scheduled command.
        state: scheduled, claimed, waiting (Celery's own retry has sent it again), external (its body has ended and
            somebody else reports), backoff or reported.
        owner: The process that claimed it.
        since_ms: When it got into this state; with ``backoff`` when the next attempt is due.
        retries: How often Celery's own retry has sent the attempt that was claimed.
    """

    attempt: int
    token: str
    state: str
    owner: str
    since_ms: int
    retries: int = 0


def read_state(packed: bytes) -> AttemptState:
    """Decode the state that the scripts keep of an activity."""
    attempt, token, state, owner, _nonce, since, *retries = msgpack.unpackb(packed, raw=False)
    return AttemptState(
        int(attempt), str(token), str(state), str(owner), int(since), int(retries[0] or 0) if retries else 0
    )


def first_state(token: str) -> bytes:
    """Encode the state of an activity that is scheduled for the first time."""
    packed: bytes = msgpack.packb([1, token, "scheduled", "", "", "0"])
    return packed


def claimed_state(attempt: AttemptId, owner: str, since_ms: int) -> bytes:
    """Encode the state of an attempt whose body a process has begun without a message."""
    packed: bytes = msgpack.packb([attempt.attempt, attempt.token, "claimed", owner, "", str(since_ms)])
    return packed


def backoff_state(attempt: AttemptId, due_ms: int) -> bytes:
    """Encode the state of an activity whose next attempt is due at a time."""
    packed: bytes = msgpack.packb([attempt.attempt, attempt.token, "backoff", "", "", str(due_ms)])
    return packed


class Attempts(Aggregate):
    """The verbs of activity attempts."""

    def claim(
        self, attempt: AttemptId, *, owner: str, nonce: str, close_ms: int, beat_ms: int, queue: str, retries: int = 0
    ) -> Claim:
        """Ask to run the body of an attempt.

        Args:
            attempt: The attempt.
            owner: The process that will run it.
            nonce: Unique to this delivery of the message: the same claim sent again is granted again.
            close_ms: Start-to-close timeout.
            beat_ms: Heartbeat timeout, 0 for none.
            queue: Where the message was; empty when unknown.
            retries: How often Celery's own retry has sent the attempt: each such message is granted once.
        """
        keys = self._keyspace.of_run(attempt.run_id)
        reply = self._run(
            "claim_attempt",
            [
                keys.record(attempt.run_id),
                keys.open(attempt.run_id),
                keys.timers,
                keys.pending,
                keys.frontier,
                keys.claims(owner),
            ],
            attempt.run_id,
            attempt.seq,
            attempt.attempt,
            attempt.token,
            owner,
            nonce,
            close_ms,
            beat_ms,
            queue,
            max(self._options.retention_ms, close_ms + _DAY_MS),
            retries,
        )
        if text(reply[0]) == "claimed":
            return Claim(True, time_ms=int(reply[1]), details=bytes(reply[2]), sent_ms=int(float(reply[3] or 0)))
        return Claim(False, why=text(reply[1]))

    def report(
        self,
        attempt: AttemptId,
        *,
        outcome: str,
        item: bytes,
        claimed_by: str,
        delay_ms: int = 0,
        states: str = "",
        owner: str = "",
        pushes: Pushes = NO_PUSHES,
        known: int = -1,
        retries: int = 0,
        timer: str = "",
        request_id: str = "",
    ) -> Delivery:
        """Record how an attempt ended.

        Args:
            attempt: The attempt.
            outcome: ``completed``, ``failed``, ``retry``, ``waiting`` (Celery's own retry has sent it again) or
                ``external`` (the body has ended, somebody else will report; deadlines go on).
            item: The input for the workflow; with ``retry`` and ``waiting`` the failure, kept to be shown.
            claimed_by: The process that had claimed it.
            delay_ms: With ``retry``: until the next attempt; with ``waiting``: until the attempt is given up.
            states: States in which the report counts, joined by commas; empty: any.
            owner: Take the run's lease for this process when it is free.
            pushes: The wake-up, given out if one is needed.
            known: Events that the owner knows: the lease brings the few after them; -1 for none.
            retries: With ``waiting``: how often Celery's own retry had sent the message that is done now.
            timer: The deadline that says so; answered ``early`` when it is not due, or not any more.
            request_id: Repeats of it are answered ``duplicate``, with the outcome that counted; empty: no check.

        Returns:
            Among others ``cancelled`` for a ``retry`` of an activity that is asked to stop: it has to be reported as
            failed; nothing was written.
        """
        keys = self._keyspace.of_run(attempt.run_id)
        with self._claims.of_run(attempt.run_id) as write:
            reply = self._run(
                "report_attempt",
                [
                    keys.record(attempt.run_id),
                    keys.open(attempt.run_id),
                    keys.timers,
                    keys.pending,
                    keys.inbox(attempt.run_id),
                    keys.ready,
                    keys.claims(claimed_by),
                    keys.history(attempt.run_id),
                    keys.request(request_id),
                ],
                attempt.run_id,
                attempt.seq,
                attempt.attempt,
                attempt.token,
                outcome,
                write.input(item) if outcome in ("completed", "failed") else item,
                delay_ms,
                states,
                self._options.grace_ms,
                self._pack_pushes(pushes),
                owner,
                self._options.lease_ms,
                self._options.page,
                claimed_by,
                known,
                retries,
                timer,
                request_id,
                self._options.mark_ms,
            )
        return self._delivery(attempt.run_id, reply)

    def dispatch(
        self, attempt: AttemptId, *, state: str, entry: bytes, start_ms: int = 0, pushes: Pushes = NO_PUSHES
    ) -> Delivery:
        """Send the message of an attempt that is due, or again one whose message seems lost.

        Args:
            attempt: The attempt.
            state: ``backoff`` or ``scheduled``: what it must be.
            entry: Outbox entry, written when there are no pushes.
            start_ms: Schedule-to-start timeout, 0 for none.
            pushes: The message, given out with the write.

        Returns:
            ``sent``, ``outbox`` with the entry's id, or ``dropped``.
        """
        keys = self._keyspace.of_run(attempt.run_id)
        reply = self._run(
            "dispatch_attempt",
            [
                keys.record(attempt.run_id),
                keys.open(attempt.run_id),
                keys.timers,
                keys.pending,
                keys.outbox,
                keys.outbox_due,
            ],
            attempt.run_id,
            attempt.seq,
            attempt.attempt,
            attempt.token,
            state,
            self._pack_pushes(pushes),
            entry,
            start_ms,
            self._options.grace_ms,
        )
        return self._delivery(attempt.run_id, reply)

    def heartbeat(self, attempt: AttemptId, *, details: bytes, beat_ms: int) -> str:
        """Say that an attempt is alive; with neither details nor a timeout it is only looked at.

        Returns:
            Empty while the attempt is wanted, ``cancelled`` when the workflow asks it to stop and waits for how that
            ends, else why nobody wants its outcome.
        """
        keys = self._keyspace.of_run(attempt.run_id)
        reply = self._run(
            "heartbeat_attempt",
            [keys.record(attempt.run_id), keys.open(attempt.run_id), keys.timers],
            attempt.run_id,
            attempt.seq,
            attempt.attempt,
            attempt.token,
            details,
            beat_ms,
        )
        status = text(reply[0])
        return text(reply[1]) if status == "gone" else "" if status == "ok" else status

    def read(self, run_id: RunId, seq: int) -> tuple[bytes, AttemptState] | None:
        """The command of an activity as stored, and where it stands; None when it is closed.

        Raises:
            CorruptHistoryError: It is offloaded, and cannot be read.
        """
        blob, packed = self._connection.call("HMGET", self._keyspace.of_run(run_id).open(run_id), seq, f"{seq}:s")
        if blob is None or packed is None:
            return None
        return self._claims.whole(blob, run_id, f"activity {seq}"), read_state(packed)

    def last_failure(self, run_id: RunId, seq: int) -> bytes | None:
        """The failure of the attempt before the open one, encoded; None when there is none."""
        failure: Any = self._connection.call("HGET", self._keyspace.of_run(run_id).open(run_id), f"{seq}:e")
        return failure if isinstance(failure, bytes) else None

    def frontier(self, run_id: RunId, queue: str) -> int:
        """Latest dispatch time among the claimed attempts of a queue, in this run's shard; 0 for none."""
        seen = self._connection.call("HGET", self._keyspace.of_run(run_id).frontier, queue)
        return int(float(seen)) if seen else 0
