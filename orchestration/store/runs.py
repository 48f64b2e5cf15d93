"""Runs: started, advanced under a lease, committed behind a fence, parked, ended, read and listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from orchestration.core.events import Code
from orchestration.store.attempts import AttemptId
from orchestration.store.base import NO_PUSHES, flat_fields, pack_for_script, text
from orchestration.store.indexing import index_fields
from orchestration.store.offload.claim_check import Writing
from orchestration.store.results import Delivery, Lease, Pushes, StartResult, Step
from orchestration.store.run_reads import RunReads
from orchestration.types import RunId

__all__ = ["Runs"]

_NO_BOUND = 2**53
_UNBOUNDED = frozenset((
    Code.CANCEL_REQUESTED, Code.OPERATION_DONE, Code.CHILD_STARTED, Code.CHILD_START_FAILED, Code.CHILD_ENDED,
))  # fmt: skip


class Runs(RunReads):
    """The verbs of runs."""

    def new_id(self, workflow_id: str) -> RunId:
        """Make an id for a new run of a workflow."""
        return self._keyspace.new_run_id(workflow_id)

    def start(
        self,
        run_id: RunId,
        workflow_id: str,
        *,
        request_id: str,
        digest: str,
        bundle: bytes,
        fields: Mapping[str, Any],
        extra: Mapping[str, Any],
        inputs: Sequence[bytes],
        search: Mapping[str, Any] | None = None,
        update: str = "",
        conflict: str = "fail",
        reuse: str = "allow_duplicate",
        run_timeout_ms: int = 0,
        execution_timeout_ms: int = 0,
        delay_ms: int = 0,
        expires_ms: int = 0,
        show_ms: int = 0,
        pushes: Pushes = NO_PUSHES,
    ) -> StartResult:
        """Create a run, unless this request has been answered before or a policy refuses it.

        Safe to repeat: one request id starts at most one run.

        Args:
            run_id: Id of the new run, of :meth:`new_id`.
            workflow_id: The caller's name for it.
            request_id: Who asks; the same request again is answered ``duplicate``.
            digest: Of the code bundle; empty when the worker that takes the run up is to find it.
            bundle: The code bundle, stored if it is not; empty when it is believed to be.
            fields: What else goes into the record.
            extra: Larger facts.
            inputs: The started input, then startup signals, then a first update.
            search: Search attributes, which have been checked.
            update: Id of that update; empty when there is none.
            conflict: ``fail`` or ``use_existing``, when a run of the id is open.
            reuse: ``allow_duplicate``, ``allow_duplicate_failed_only`` or ``reject_duplicate``, when one has ended.
            run_timeout_ms: After which the run is ended, counted from when it begins; 0 for never.
            execution_timeout_ms: After which the workflow is ended, whichever run of the chain is open; 0 for never.
            delay_ms: After which the run begins; 0 for at once.
            expires_ms: After which it is not to begin any more; 0 for never.
            show_ms: After which its Celery task is looked after, see :class:`orchestration.store.shown.Shown`, begun or
                not; 0: its steps say.
            pushes: The wake-up of a new run, given out with the write.

        Returns:
            What became of it; ``started`` only when all of it is stored. With ``exists`` the inputs after the first are
            in the inbox of the run that is open, which must be woken when ``detail`` says ``wake``.
        """
        keys = self._keyspace.of_workflow(workflow_id)
        with self._claims.of_workflow(workflow_id) as write:
            reply = self._run(
                "start_run",
                [
                    keys.workflow(workflow_id),
                    keys.request(request_id),
                    keys.record(run_id),
                    keys.extra(run_id),
                    keys.inbox(run_id),
                    keys.ready,
                    keys.open_runs,
                    keys.bundle(digest),
                    keys.bundles,
                    keys.timers,
                    keys.index,
                    keys.types,
                    keys.updates(run_id),
                    keys.shown,
                ],
                run_id,
                request_id,
                conflict,
                reuse,
                self._options.mark_ms,
                self._options.grace_ms,
                digest,
                bundle,
                pack_for_script(
                    [
                        flat_fields({"id": workflow_id, **fields}),
                        flat_fields({**extra, **index_fields(search or {})}),
                        [update, ""] if update else [],
                    ]
                ),
                pack_for_script(write.inputs(inputs)),
                self._pack_pushes(pushes),
                keys.tag,
                run_timeout_ms,
                execution_timeout_ms,
                delay_ms,
                self._options.inbox_bound,
                expires_ms,
                show_ms,
            )
        found = RunId(text(reply[1])) if len(reply) > 1 else RunId("")
        return StartResult(text(reply[0]), found, " ".join(map(text, reply[2:])))

    def take_lease(self, run_id: RunId, owner: str, *, known: int = -1) -> Delivery:
        """Become the one that advances a run, if it has something to read and nobody else is at it.

        Args:
            run_id: The run.
            owner: The process that asks.
            known: Events that it knows: the lease brings the few after them; -1 for none.
        """
        keys = self._keyspace.of_run(run_id)
        reply = self._run(
            "take_lease",
            [keys.record(run_id), keys.inbox(run_id), keys.ready, keys.history(run_id)],
            run_id,
            owner,
            self._options.lease_ms,
            self._options.page,
            known,
        )
        return self._delivery(run_id, reply)

    def deliver(
        self, run_id: RunId, item: bytes, *, request_id: str = "", owner: str = "", pushes: Pushes = NO_PUSHES
    ) -> Delivery:
        """Put an input into a run's inbox, once for a request id.

        An inbox above its bound takes no more messages. Answers to the run's own commands, and requests to cancel, it
        takes always: nobody would send them again.

        Args:
            run_id: The run.
            item: The input, encoded without its time.
            request_id: Repeats of it are answered ``duplicate``; empty: every call delivers.
            owner: Take the lease for this process when it is free.
            pushes: The wake-up, given out if one is needed.
        """
        keys = self._keyspace.of_run(run_id)
        with self._claims.of_run(run_id) as write:
            reply = self._run(
                "deliver_input",
                [keys.record(run_id), keys.inbox(run_id), keys.ready, keys.request(request_id)],
                run_id,
                request_id,
                min(self._options.mark_ms, 86_400_000),
                write.input(item),
                self._options.grace_ms,
                self._pack_pushes(pushes),
                owner,
                self._options.lease_ms,
                self._options.page,
                _NO_BOUND if len(item) > 1 and item[1] in _UNBOUNDED else self._options.inbox_bound,
            )
        return self._delivery(run_id, reply)

    def commit(self, lease: Lease, step: Step, *, claimed_by: str = "-") -> Delivery:
        """Make one step true: inputs consumed, events appended, effects set off; all of it or nothing.

        Safe to repeat: the same commit id is answered as the first time.

        Args:
            lease: As the holder was given it; its fence is checked.
            step: What to write.
            claimed_by: The process that runs the bodies which the step claims.

        Returns:
            ``done``; ``lease`` when there is more to read; ``fenced`` when something else has changed the run since:
            then nothing was written.
        """
        with self._claims.of_workflow(step.workflow_id, was_offloaded=bool(step.following)) as write:
            reply = self._run(
                "commit_step",
                [
                    *self._step_keys(lease.run_id, step.workflow_id, step.digest),
                    self._keyspace.of_run(lease.run_id).claims(claimed_by),
                    self._keyspace.of_run(lease.run_id).shown,
                ],
                *self._step_args(lease, step, write),
            )
        return self._delivery(lease.run_id, reply)

    def finish(self, lease: Lease, step: Step, attempt: AttemptId, *, claimed_by: str) -> Delivery:
        """Report an activity attempt's result and commit the step that it causes, in one go.

        Safe to repeat, as :meth:`commit`.

        Args:
            lease: As the process believes the run to stand: fence, time and length after its own last commit.
            step: What to write; nothing of it has been in the inbox.
            attempt: The attempt that has completed.
            claimed_by: The process that had claimed it.

        Returns:
            As :meth:`commit`; ``slow`` when something came in between: then nothing was written, and the attempt has
            to be reported in the ordinary way.
        """
        keys = self._keyspace.of_run(lease.run_id)
        with self._claims.of_workflow(step.workflow_id, was_offloaded=bool(step.following)) as write:
            reply = self._run(
                "finish_attempt",
                [*self._step_keys(lease.run_id, step.workflow_id, step.digest), keys.claims(claimed_by), keys.shown],
                *self._step_args(lease, step, write),
                attempt.seq,
                attempt.attempt,
                attempt.token,
            )
        return self._delivery(lease.run_id, reply)

    def _step_args(self, lease: Lease, step: Step, write: Writing) -> list[Any]:
        return [
            lease.run_id,
            lease.fence,
            step.commit_id,
            step.owner,
            self._options.lease_ms,
            self._options.page,
            step.consumed,
            step.dropped,
            lease.time_ms,
            pack_for_script(write.events(step.events)),
            pack_for_script(write.ops(step.ops)),
            self._pack_pushes(step.pushes),
            step.ending,
            self._options.closing_ms,
            self._options.mark_ms,
            self._keyspace.of_run(lease.run_id).done_channel(lease.run_id),
            self._options.grace_ms,
            self._options.eta_max,
            step.following,
        ]

    def end(
        self,
        run_id: RunId,
        *,
        status: str,
        code: int,
        details: Sequence[Any],
        outbox_id: str = "",
        entry: bytes = b"",
        timer: str = "",
        following: bytes = b"",
        unbegun: bool = False,
        request_id: str = "",
    ) -> Delivery:
        """End a run from outside.

        Args:
            run_id: The run.
            status: ``terminated``, ``timed_out`` or ``cancelled``.
            code: Kind of the closing event.
            details: What follows the time in the closing event.
            outbox_id: Entry that completes the outer task; empty for none.
            entry: Its contents.
            timer: Member of the timer that asks for it, which must be due; empty when a person asks.
            following: The run that takes its place, made by :meth:`Chains.pack`; empty: none.
            unbegun: Only if nothing of it has been done yet, and nobody is at its first step.
            request_id: Once it has ended a run its repeats are answered ``duplicate``, also those that find a later run
                of the workflow; empty: every call may end one.

        Returns:
            ``ended``, ``closed`` with the status it had, ``early``, ``begun`` or ``duplicate``.

        Raises:
            WorkflowNotFoundError: No such run.
        """
        keys = self._keyspace.of_run(run_id)
        fields = self.record(run_id).fields
        with self._claims.of_workflow(fields["id"], was_offloaded=bool(following)):
            reply = self._run(
                "end_run",
                [*self._step_keys(run_id, fields["id"], fields["bundle"]), keys.request(request_id)],
                run_id,
                status,
                bytes([0x90 + 2 + len(details), code]),
                b"".join(msgpack.packb(detail) for detail in details),
                outbox_id,
                entry,
                self._options.closing_ms,
                self._options.mark_ms,
                keys.done_channel(run_id),
                self._options.grace_ms,
                timer,
                following,
                "1" if unbegun else "",
                request_id,
            )
        return self._delivery(run_id, reply)

    def park(self, run_id: RunId, *, fence: int, kind: str, reason: str) -> bool:
        """Set a run aside that cannot go on; nothing of the failed step is written.

        Returns:
            False when something else has changed the run since.
        """
        keys = self._keyspace.of_run(run_id)
        reply = self._run(
            "park_run",
            [keys.record(run_id), keys.extra(run_id), keys.ready, keys.parked_runs],
            run_id,
            fence,
            kind,
            reason,
        )
        return text(reply[0]) == "parked"

    def unpark(self, run_id: RunId) -> Delivery:
        """Let a parked run try again; the sweep wakes it.

        Returns:
            ``running``, or ``not_parked`` with its status.
        """
        keys = self._keyspace.of_run(run_id)
        keys_ = [keys.record(run_id), keys.extra(run_id), keys.ready, keys.parked_runs]
        return self._delivery(run_id, self._run("unpark_run", keys_, run_id))

    def _step_keys(self, run_id: RunId, workflow_id: str, digest: str) -> list[str]:
        keys = self._keyspace.of_run(run_id)
        return [
            keys.record(run_id),
            keys.extra(run_id),
            keys.history(run_id),
            keys.inbox(run_id),
            keys.open(run_id),
            keys.timers,
            keys.handed,
            keys.ready,
            keys.pending,
            keys.open_runs,
            keys.closed_runs,
            keys.parked_runs,
            keys.workflow(workflow_id),
            keys.bundle(digest),
            keys.bundles,
            keys.index,
            keys.types,
            keys.ended,
            keys.outbox,
            keys.outbox_due,
            keys.updates(run_id),
            keys.unarchived,
        ]
