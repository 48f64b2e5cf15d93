"""Runs whose Celery tasks are looked after while they are open: what their state says, how long their keys live."""

from __future__ import annotations

from orchestration.store.base import Aggregate, text
from orchestration.store.keys import ShardKeys
from orchestration.types import RunId

__all__ = ["Shown"]


class Shown(Aggregate):
    """The verbs of looking after Celery tasks."""

    @property
    def shards(self) -> tuple[ShardKeys, ...]:
        """The keys of every shard."""
        return self._keyspace.all

    def take(self, shard: ShardKeys, *, limit: int, hold_ms: int) -> tuple[str, list[RunId]]:
        """Find runs that are to be looked after, and hold them for a while so that others leave them alone.

        Args:
            shard: Where to look.
            limit: Most runs.
            hold_ms: When one that :meth:`put` has not been called for until then is found again.

        Returns:
            What :meth:`put` is told of the hold, and the runs.
        """
        held, *runs = self._run("take_shown", [shard.shown], limit, hold_ms, shard.tag)
        return text(held), [RunId(text(run)) for run in runs]

    def put(self, run_id: RunId, *, after_ms: int, held: str = "") -> bool:
        """Say when a run is looked after the next time; safe to repeat.

        Args:
            run_id: The run.
            after_ms: Milliseconds from now; 0: not before a step of it asks.
            held: What :meth:`take` said; empty: it was not taken.

        Returns:
            False when a step has asked meanwhile: that counts.
        """
        shown = self._keyspace.of_run(run_id).shown
        return text(self._run("put_shown", [shown], run_id, held, after_ms)[0]) == "put"
