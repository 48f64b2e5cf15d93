"""What an operator does to runs: paused, resumed."""

from __future__ import annotations

import msgpack

from orchestration.store.base import Aggregate
from orchestration.store.results import Delivery
from orchestration.types import RunId

__all__ = ["Repairs"]


class Repairs(Aggregate):
    """The verbs of operators."""

    def pause(self, run_id: RunId, *, by: str, note: str) -> Delivery:
        """Let a run make no more steps; inputs, activities and timers go on and wait in its inbox.

        Args:
            run_id: The run.
            by: Who asks for it.
            note: Why, for people.

        Returns:
            ``paused`` (also when it was), or ``not_running`` with its status.
        """
        keys = self._keyspace.of_run(run_id)
        reply = self._run(
            "pause_run",
            [keys.record(run_id), keys.extra(run_id), keys.ready],
            run_id,
            msgpack.packb([by, note]),
        )
        return self._delivery(run_id, reply)

    def resume(self, run_id: RunId) -> Delivery:
        """Let a paused run go on; the sweep wakes it.

        Returns:
            ``running`` (also when it was), or ``not_paused`` with its status.
        """
        keys = self._keyspace.of_run(run_id)
        reply = self._run("resume_run", [keys.record(run_id), keys.extra(run_id), keys.ready], run_id)
        return self._delivery(run_id, reply)
