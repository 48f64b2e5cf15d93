"""What an operator does to runs: paused, resumed, moved to other code."""

from __future__ import annotations

import msgpack

from orchestration.store.base import Aggregate, text
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

    def change_bundle(self, run_id: RunId, *, fence: int, old: str, new: str, code: bytes) -> int | None:
        """Let a run go on with other code, which has been replayed against its history.

        Args:
            run_id: The run.
            fence: As it was when the history was read.
            old: Digest of the code it is on.
            new: Digest of the other code.
            code: The other code's bundle.

        Returns:
            The new fence; None when something has changed the run since, or it has ended: then nothing was written.
        """
        keys = self._keyspace.of_run(run_id)
        reply = self._run(
            "change_bundle",
            [keys.record(run_id), keys.bundle(old), keys.bundle(new), keys.bundles],
            fence,
            old,
            new,
            code,
            self._options.retention_ms,
        )
        return int(reply[1]) if text(reply[0]) == "moved" else None
