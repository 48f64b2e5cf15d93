"""Timers, deadlines and what else the sweep looks after."""

from __future__ import annotations

from collections.abc import Sequence

from orchestration.store.base import NO_PUSHES, Aggregate, text
from orchestration.store.inputs import encode_input
from orchestration.store.keys import ShardKeys
from orchestration.store.results import Delivery, Pushes, Sweep
from orchestration.types import RunId

__all__ = ["Timers"]

TIMER_FIRED = 4


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
