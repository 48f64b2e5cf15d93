"""Followers: those who are told of each change of a run while they want to be."""

from __future__ import annotations

from orchestration.store.base import Aggregate
from orchestration.store.connection import Subscription
from orchestration.store.results import Delivery
from orchestration.types import RunId

__all__ = ["Followers"]


class Followers(Aggregate):
    """The verbs of those who follow a run. A run that nobody follows pays one read of a field for each change."""

    def follow(self, run_id: RunId, *, for_ms: int) -> Delivery:
        """Have the channel of a run told of its changes for a while: steps, attempts, pauses.

        Listen first, then follow, then read: nothing is missed. Safe to repeat; a follower repeats it in time.

        Args:
            run_id: The run.
            for_ms: How long.

        Returns:
            ``followed``, or ``closed`` when no change is to come; then its detail is the status.
        """
        return self._delivery(run_id, self._run("follow_run", [self._keyspace.of_run(run_id).record(run_id)], for_ms))

    def subscribe(self, run_id: RunId) -> Subscription:
        """Listen for changes of a run, its end among them."""
        keys = self._keyspace.of_run(run_id)
        return self._connection.subscribe(keys.changes_channel(run_id), keys.done_channel(run_id))
