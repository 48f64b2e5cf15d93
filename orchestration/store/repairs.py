"""What an operator does to runs: paused, resumed, moved to other code, reset, forked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from orchestration.store.base import Aggregate, flat_fields, pack_for_script, text
from orchestration.store.chains import Chains
from orchestration.store.results import Copy, Delivery, RunRecord
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

    def reset(self, record: RunRecord, copy: Copy, *, code: int, details: Sequence[Any], chains: Chains) -> Delivery:
        """Let another run take the place of one, with the beginning of its history.

        Args:
            record: The run, as it was when the copy was made: fence and number of unread inputs are checked.
            copy: The run that takes its place.
            code: Kind of the event that ends the old run, if it is open.
            details: What follows the time in that event.
            chains: Encodes the new run.

        Returns:
            ``reset``; ``moved`` when something has changed the run since; ``not_latest`` with the run that has its
            workflow id: then nothing was written.
        """
        run_id, new = record.run_id, copy.run.run_id
        keys, digest = self._keyspace.of_run(record.run_id), record.fields["bundle"]
        named = [
            keys.record(run_id), keys.extra(run_id), keys.history(run_id), keys.inbox(run_id), keys.open(run_id),
            keys.timers, keys.handed, keys.ready, keys.pending, keys.open_runs, keys.closed_runs, keys.parked_runs,
            keys.workflow(record.fields["id"]), keys.bundle(digest), keys.bundles, keys.index, keys.types, keys.ended,
            keys.outbox, keys.outbox_due, keys.updates(run_id), keys.unarchived, keys.record(new), keys.extra(new),
            keys.history(new), keys.inbox(new), keys.open(new), keys.updates(new),
        ]  # fmt: skip
        with self._claims.of_workflow(record.fields["id"], was_offloaded=True) as write:
            reply = self._run(
                "reset_run",
                named,
                run_id,
                record.number("fence"),
                record.unread,
                chains.pack(copy.run, workflow_id=record.fields["id"]),
                write.event(copy.started),
                copy.length,
                pack_for_script(write.ops(copy.ops)),
                pack_for_script([str(seq) for seq in copy.kept]),
                bytes([0x90 + 2 + len(details), code]),
                b"".join(msgpack.packb(detail) for detail in details),
                self._options.closing_ms,
                self._options.mark_ms,
                keys.done_channel(run_id),
                self._options.grace_ms,
                self._options.eta_max,
            )
        return self._delivery(run_id, reply)

    def fork(self, workflow_id: str, copy: Copy, events: Sequence[bytes], *, extra: Mapping[str, Any]) -> Delivery:
        """Make a run of a new workflow id that begins with a history.

        Args:
            workflow_id: Name of the new workflow.
            copy: The run.
            events: All events that it begins with.
            extra: Larger facts.

        Returns:
            ``forked``, or ``exists`` with the run that has the workflow id: then nothing was written.
        """
        run = copy.run
        keys, run_id = self._keyspace.of_workflow(workflow_id), run.run_id
        named = [
            keys.workflow(workflow_id), keys.record(run_id), keys.extra(run_id), keys.history(run_id),
            keys.inbox(run_id), keys.open(run_id), keys.timers, keys.handed, keys.ready, keys.pending, keys.open_runs,
            keys.bundle(run.digest), keys.bundles, keys.index, keys.types, keys.outbox, keys.outbox_due,
            keys.updates(run_id),
        ]  # fmt: skip
        with self._claims.of_workflow(workflow_id) as write:
            reply = self._run(
                "fork_run",
                named,
                run_id,
                run.digest,
                run.code,
                pack_for_script([flat_fields({"id": workflow_id, **run.fields}), flat_fields(extra)]),
                pack_for_script(write.events(events)),
                pack_for_script(write.inputs(run.inputs)),
                pack_for_script(write.ops(copy.ops)),
                self._pack_pushes(run.pushes),
                run.run_timeout_ms,
                self._options.retention_ms,
                self._options.grace_ms,
                self._options.eta_max,
            )
        return self._delivery(run_id, reply)
