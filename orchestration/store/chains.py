"""What ties runs together: one that follows another, those that watch an end, starts that come too late."""

from __future__ import annotations

from orchestration.store.base import NO_PUSHES, Aggregate, flat_fields, pack_for_script, text
from orchestration.store.results import Delivery, Following, Pushes
from orchestration.types import RunId

__all__ = ["Chains"]


class Chains(Aggregate):
    """The verbs between runs."""

    def pack(self, run: Following, *, workflow_id: str) -> bytes:
        """Encode the run that takes another's place, for :attr:`Step.following` and :meth:`Runs.end`."""
        with self._claims.of_workflow(workflow_id) as write:
            inputs = write.inputs(run.inputs)
        return pack_for_script(
            {
                "run": run.run_id, "tag": self._keyspace.of_run(run.run_id).tag, "digest": run.digest, "code": run.code,
                "fields": flat_fields(run.fields), "inputs": inputs, "delay_ms": run.delay_ms,
                "timeout_ms": run.run_timeout_ms,
                "push": [run.pushes.database, self._connection.database, list(run.pushes.commands)],
            }
        )  # fmt: skip

    def begin(self, run_id: RunId, *, pushes: Pushes = NO_PUSHES) -> Delivery:
        """Let a run begin whose delay is over.

        Returns:
            ``accepted``, ``wake`` (a wake-up must be published), ``early``, or ``gone`` when it has begun already.
        """
        keys = self._keyspace.of_run(run_id)
        named = [keys.record(run_id), keys.timers, keys.ready]
        reply = self._run("begin_run", named, run_id, self._options.grace_ms, self._pack_pushes(pushes))
        return self._delivery(run_id, reply)

    def extend_deadline(self, run_id: RunId, member: str, *, grace_ms: int) -> Delivery:
        """Put a due deadline off, once in a run's life.

        Returns:
            ``extended``, ``over`` when that has been done before, or ``early`` when it is not due.
        """
        keys = self._keyspace.of_run(run_id)
        return self._delivery(
            run_id, self._run("extend_deadline", [keys.record(run_id), keys.timers], member, grace_ms)
        )

    def watch(self, run_id: RunId, watcher: str, *, pid: str) -> Delivery:
        """Have the end of a run told to one more that waits for it.

        Args:
            run_id: The run.
            watcher: Namespace, run and number of the command that waits, joined by ``/``.
            pid: By which address the watcher knows the run.

        Returns:
            ``watching``, or ``closed`` when there is no end to come; then its detail is the status, and the id of the
            run that took its place if one did.
        """
        keys = self._keyspace.of_run(run_id)
        return self._delivery(run_id, self._run("watch_run", [keys.record(run_id), keys.extra(run_id)], watcher, pid))

    def note_told(self, run_id: RunId, what: str) -> None:
        """Note of an ended run that those who wait for its end have been told in part; it is kept as long as the run.

        Args:
            run_id: The run.
            what: Name among its larger facts; the value is ``1``.
        """
        self._run("note_told", [self._keyspace.of_run(run_id).extra(run_id)], what)

    def bar_start(self, workflow_id: str, request_id: str) -> RunId | None:
        """See to it that a start that has not come yet never starts anything.

        Returns:
            The run, when the start has come already; None when it is barred.
        """
        keys = self._keyspace.of_workflow(workflow_id)
        request = keys.request(request_id)
        reply = self._run(
            "bar_start", [request, keys.workflow(workflow_id)], request[len(keys.request("")) :], self._options.mark_ms
        )
        return RunId(text(reply[1])) if text(reply[0]) == "started" else None

    def pin_bundle(self, run_id: RunId, *, digest: str, code: bytes, entry_id: str) -> str:
        """Give a run its code that was started where the code was not known.

        Returns:
            Digest of the code that the run has now; empty when it has ended.
        """
        keys = self._keyspace.of_run(run_id)
        named = [
            keys.record(run_id), keys.bundle(digest), keys.bundles, keys.extra(run_id), keys.index, keys.types,
        ]  # fmt: skip
        reply = self._run("pin_bundle", named, digest, code, entry_id, run_id)
        return text(reply[1]) if text(reply[0]) == "pinned" else ""
