"""Ended runs that are kept until they have been archived."""

from __future__ import annotations

from orchestration.store.base import Aggregate, text
from orchestration.store.keys import ShardKeys
from orchestration.types import RunId

__all__ = ["Archives"]


class Archives(Aggregate):
    """The verbs of archiving."""

    @property
    def shards(self) -> tuple[ShardKeys, ...]:
        """The keys of every shard."""
        return self._keyspace.all

    def take(self, shard: ShardKeys, *, limit: int, hold_ms: int) -> list[RunId]:
        """Find runs that wait to be archived, and hold them for a while so that others leave them alone.

        Args:
            shard: Where to look.
            limit: Most runs.
            hold_ms: When one that has not been archived until then is found again.
        """
        return [RunId(text(run)) for run in self._run("take_unarchived", [shard.unarchived], limit, hold_ms)]

    def finish(self, run_id: RunId, *, workflow_id: str = "") -> None:
        """Let the retention of a run count that has been archived; safe to repeat.

        Args:
            run_id: The run.
            workflow_id: Its workflow id; empty when it is not known any more.
        """
        keys = self._keyspace.of_run(run_id)
        self._run(
            "finish_archive",
            [
                keys.unarchived,
                keys.record(run_id),
                keys.extra(run_id),
                keys.history(run_id),
                keys.updates(run_id),
            ],
            run_id,
            self._options.retention_ms,
        )
        if workflow_id:
            self._claims.settle(workflow_id)
