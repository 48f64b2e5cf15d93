"""Timers, deadlines and what else the sweep looks after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.store.base import NO_PUSHES, Aggregate, scored, text
from orchestration.store.inputs import encode_input
from orchestration.store.keys import ShardKeys
from orchestration.store.results import Delivery, Pushes, Sweep
from orchestration.types import RunId

__all__ = ["ShardCounts", "Timers"]

TIMER_FIRED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardCounts:
    """How much there is in a shard, and the oldest moment of what should not grow old; empty: there is none.

    Attributes:
        open: Runs that have not ended.
        parked: Of them, those that wait for an operator.
        closed: Ended runs that are kept.
        ready: Runs with something to read.
        timers: Timers and deadlines.
        pending: Attempts sent and not claimed.
        outbox: Entries of the outbox.
        first_timer: When the first timer is due.
        first_pending: When the first of the attempts was sent.
        first_outbox: When the sweep looks after the first entry.
    """

    open: int
    parked: int
    closed: int
    ready: int
    timers: int
    pending: int
    outbox: int
    first_timer: tuple[float, ...]
    first_pending: tuple[float, ...]
    first_outbox: tuple[float, ...]


class Timers(Aggregate):
    """The verbs of timers, of the outbox and of the sweep."""

    @property
    def shards(self) -> tuple[ShardKeys, ...]:
        """The shards to sweep."""
        return self._keyspace.all

    def fire(
        self, run_id: RunId, seq: int, *, owner: str = "", pushes: Pushes = NO_PUSHES, known: int = -1
    ) -> Delivery:
        """Turn a due timer into an input; never early, never twice.

        Args:
            run_id: The run.
            seq: The timer's number.
            owner: Take the run's lease for this process; it is tried even when the timer was gone.
            pushes: The wake-up, given out if one is needed.
            known: Events that the owner knows: the lease brings the few after them; -1 for none.
        """
        keys = self._keyspace.of_run(run_id)
        reply = self._run(
            "fire_timer",
            [
                keys.record(run_id),
                keys.open(run_id),
                keys.timers,
                keys.handed,
                keys.inbox(run_id),
                keys.ready,
                keys.history(run_id),
            ],
            run_id,
            seq,
            encode_input(TIMER_FIRED, seq),
            self._options.grace_ms,
            self._pack_pushes(pushes),
            owner,
            self._options.lease_ms,
            self._options.page,
            known,
        )
        return self._delivery(run_id, reply)

    def sweep(
        self,
        shard: ShardKeys,
        *,
        limit: int,
        hold_ms: int,
        horizon_ms: int,
        eta_max: int,
        overdue_ms: int,
        unclaimed_ms: int,
        skip: int = 0,
        skip_due: int = 0,
    ) -> Sweep:
        """Find what needs a hand in one shard, and take it for a moment so that others leave it alone.

        Args:
            shard: Where to look.
            limit: Most of each kind.
            hold_ms: How long a found one is left alone.
            horizon_ms: Timers due within it are handed to the broker.
            eta_max: Most timers handed to the broker at once.
            overdue_ms: A handed timer this late is fired by the sweep.
            unclaimed_ms: An attempt unclaimed this long is looked at.
            skip: Of the unclaimed attempts, those looked at before.
            skip_due: Of the deadlines that are due, those given out before.
        """
        reply = self._run(
            "sweep_shard",
            [
                shard.ready,
                shard.timers,
                shard.handed,
                shard.outbox,
                shard.outbox_due,
                shard.pending,
                shard.closed_runs,
                shard.index,
                shard.ended,
                shard.unarchived,
                shard.schedules_due,
                shard.leftovers,
                shard.shown,
            ],
            limit,
            hold_ms,
            horizon_ms,
            eta_max,
            overdue_ms,
            unclaimed_ms,
            self._options.retention_ms,
            skip,
            skip_due,
        )
        time_ms, runs, hand, fire, outbox, unclaimed, coming, schedule, leftovers, shown = reply
        return Sweep(
            int(time_ms),
            tuple(RunId(text(run)) for run in runs),
            tuple((text(hand[i]), int(float(hand[i + 1]))) for i in range(0, len(hand), 2)),
            tuple(text(member) for member in fire),
            tuple((text(outbox[i]), bytes(outbox[i + 1])) for i in range(0, len(outbox), 2)),
            tuple((text(unclaimed[i]), int(float(unclaimed[i + 1]))) for i in range(0, len(unclaimed), 2)),
            int(float(coming)) if coming else 0,
            int(float(schedule)) if schedule else 0,
            tuple(text(leftover) for leftover in leftovers),
            int(float(shown)) if shown else 0,
        )

    def finish(self, shard_of: RunId, ids: Sequence[str]) -> None:
        """Forget outbox entries that have been done, all of one run's shard."""
        if ids:
            keys = self._keyspace.of_run(shard_of)
            self._run("finish_outbox", [keys.outbox, keys.outbox_due], *ids)

    def forget(self, member: str) -> None:
        """Take a deadline off that nobody waits for any more."""
        keys = self._keyspace.of_run(member[:2])
        self._run("forget_timer", [keys.timers, keys.handed, keys.pending], member)

    def counts(self) -> tuple[int, list[ShardCounts]]:
        """Redis' time in ms, and how much there is in each shard; cheap: nothing is listed.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        commands: list[list[Any]] = []
        for k in self._keyspace.all:
            commands += [["ZCARD", key] for key in (k.open_runs, k.parked_runs, k.closed_runs, k.ready, k.timers)]
            commands += [["ZCARD", k.pending], ["HLEN", k.outbox]]
            commands += [["ZRANGE", key, 0, 0, "WITHSCORES"] for key in (k.timers, k.pending, k.outbox_due)]
        replies = self._connection.pipeline(commands)
        found = []
        for at in range(0, len(replies), 10):
            numbers = [int(reply) for reply in replies[at : at + 7]]
            first = [tuple(score for _, score in scored(reply)) for reply in replies[at + 7 : at + 10]]
            found.append(
                ShardCounts(
                    open=numbers[0], parked=numbers[1], closed=numbers[2], ready=numbers[3], timers=numbers[4],
                    pending=numbers[5], outbox=numbers[6], first_timer=first[0], first_pending=first[1],
                    first_outbox=first[2],
                )
            )  # fmt: skip
        seconds, micros = self._connection.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000, found
