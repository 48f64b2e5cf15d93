"""Attempts on workers without the extension, which claim nothing; and which workers have it."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from orchestration.store.attempts import AttemptId
from orchestration.store.base import Aggregate, pack_for_script, text
from orchestration.store.results import Delivery

__all__ = ["Foreign"]


class Foreign(Aggregate):
    """The verbs of what happens on workers without the extension."""

    def await_report(self, attempt: AttemptId, *, close_ms: int) -> Delivery:
        """Begin the start-to-close time of an attempt that a worker has taken which claims nothing; safe to repeat.

        Its schedule-to-start timeout is over with that.

        Args:
            attempt: The attempt.
            close_ms: Start-to-close timeout.

        Returns:
            ``waiting``, or ``dropped``.
        """
        keys = self._keyspace.of_run(attempt.run_id)
        reply = self._run(
            "await_report",
            [keys.record(attempt.run_id), keys.open(attempt.run_id), keys.timers],
            attempt.run_id,
            attempt.seq,
            attempt.attempt,
            attempt.token,
            close_ms,
        )
        return self._delivery(attempt.run_id, reply)

    def note_report(self, attempt: AttemptId, *, queue: str, leftover: str, delay_ms: int) -> None:
        """Note what the report of an attempt shows, before the report itself is given: how far its queue has come.

        Args:
            attempt: The attempt.
            queue: Where its message was, as :meth:`orchestration.store.attempts.Attempts.claim` calls it; empty when
                unknown.
            leftover: Whose result the sweep is to give back when it is not needed any more; empty: it is still needed.
            delay_ms: When that is.
        """
        keys = self._keyspace.of_run(attempt.run_id)
        self._run(
            "note_report",
            [keys.pending, keys.frontier, keys.leftovers, keys.open(attempt.run_id)],
            attempt.run_id,
            attempt.seq,
            attempt.attempt,
            attempt.token,
            queue,
            leftover,
            delay_ms,
        )

    def note_consumer(self, node: str, queues: Sequence[str], *, silent_ms: int) -> dict[str, list[str]]:
        """Say which queues a worker with the extension takes tasks from.

        Args:
            node: Its node name.
            queues: Their names; none: it goes.
            silent_ms: Workers that have not been heard of for longer are forgotten.

        Returns:
            The same of every worker with the extension.
        """
        packed = pack_for_script(list(queues)) if queues else b""
        reply = self._run("note_consumer", [self._keyspace.consumers], node, packed, silent_ms)
        return {
            text(node): [text(name) for name in msgpack.unpackb(packed, raw=True)]
            for node, packed in zip(reply[::2], reply[1::2], strict=True)
        }
