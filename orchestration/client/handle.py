"""One workflow, to be waited for, signalled and ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from orchestration.client.arguments import check_id, check_name, check_topic, wait_seconds
from orchestration.client.description import Description, describe_record
from orchestration.client.queries import query_run
from orchestration.client.updates import await_update, make_update, send_update
from orchestration.client.watching import watch
from orchestration.core import events, payload
from orchestration.core.checks import check_text
from orchestration.core.events import Code
from orchestration.core.failures import workflow_error
from orchestration.core.pid import make_pid
from orchestration.errors import InboxFullError, WorkflowClosedError
from orchestration.store.connection import Subscription
from orchestration.store.inputs import encode_input
from orchestration.tasks.copies import Preview, fork_run, preview_copy, reset_run
from orchestration.tasks.moving import Move, check_run, move_run
from orchestration.tasks.outbox import deliver_on, terminate_on
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.waiting import wait_for_end
from orchestration.types import Pid, RunId

__all__ = ["WorkflowHandle"]


class WorkflowHandle:
    """A workflow: by its id the latest run, or one run of it.

    Args:
        runtime: Of this process.
        namespace: It is kept in.
        workflow_id: Its name.
        run_id: One run of it; None follows the latest.
        pid: Its address, if known.
    """

    def __init__(
        self, runtime: Runtime, namespace: str, workflow_id: str, run_id: RunId | None = None, pid: Pid | None = None
    ) -> None:
        self._runtime = runtime
        self._namespace = namespace
        self._run_id = run_id
        self._pid = pid
        self.id = workflow_id

    def __repr__(self) -> str:
        return f"<WorkflowHandle {self.id!r} run {self._run_id or 'latest'}>"

    @property
    def namespace(self) -> str:
        """Namespace that it is kept in."""
        return self._namespace

    @property
    def run_id(self) -> RunId:
        """The run that is meant.

        Raises:
            WorkflowNotFoundError: No such workflow.
        """
        runs = self._runtime.store(self._namespace).runs
        return runs.known_id(self._run_id) if self._run_id else runs.current(self.id)

    @property
    def pid(self) -> Pid:
        """Address that workflows and processes send to."""
        if self._pid is None:
            entry_id = self._runtime.store(self._namespace).runs.record(self.run_id).fields["type"]
            registry = self._runtime.registry
            known = entry_id in registry
            client = registry.client_of(entry_id) if known else None
            worker = registry.worker_of(entry_id) if known else None
            self._pid = make_pid(client.id if client else "celery", worker or "default", self.id)
        return self._pid

    def result(self, timeout: float | timedelta | None = None) -> Any:
        """Wait for the end and return the result; a run that goes on as another is followed.

        Args:
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever.

        Raises:
            WorkflowFailedError: It ended with an error; kind, message, retryable and details are the workflow's own.
                Its subclasses say cancelled, terminated, timed out.
            WorkflowNotFoundError: No such workflow.
            TimeoutError: It has not ended yet; wait again.
        """
        seconds = wait_seconds(timeout)
        found = wait_for_end(self._runtime.store(self._namespace), self.run_id, timeout_s=seconds)
        if found is None:
            raise TimeoutError(f"workflow {self.id!r} has not ended within {seconds:g} s")
        record, outcome = found
        if outcome.ok:
            return payload.decode(outcome.value)
        raise workflow_error(record.status, outcome.failure or {})

    def signal(self, topic: str, *payloads: Any, request_id: str | None = None) -> None:
        """Send a message to the workflow; stored when this returns.

        Args:
            topic: Its name; the workflow receives it through ``process.inbox()`` or ``process.listen(topic)``.
            payloads: Values, each becomes one payload.
            request_id: The same id delivers once to this workflow, for a day; None: a new one for each call.

        Raises:
            WorkflowClosedError: It has ended.
            WorkflowNotFoundError: No such workflow.
            InboxFullError: It has too much unread; nothing was sent, try again later.
            EncodeError: A value cannot be carried.
            ValueError: The topic is empty or begins with ``@``.
        """
        check_topic(topic)
        check_id("a request id", request_id)
        args = payload.encode(list(payloads), limit=self._runtime.settings.value_limit_bytes)
        self._deliver(encode_input(Code.SIGNAL, topic, args, ""), request_id, f"signal {topic!r}")

    def query(self, name: str, *args: Any, timeout: float | timedelta | None = 5.0) -> Any:
        """Ask the workflow something; answered here, from its history, no worker needed, also after its end.

        Args:
            name: A query that its code registers with ``workflow.query(name, fn)``. Always there are ``@handlers`` (the
                names it registers) and ``@places`` (where its coroutines stand).
            args: Arguments of that function.
            timeout: Longest wait for a run that no worker has taken up yet, in seconds or as a timedelta; None waits
                for ever.

        Returns:
            What the function returns, as of the last step that is stored.

        Raises:
            QueryFailedError: There is no such query, or it failed; ``kind`` says which.
            WorkflowNotFoundError: No such workflow.
            EncodeError: An argument cannot be carried.
        """
        check_name("the name of a query", name)
        seconds = wait_seconds(timeout)
        packed = payload.encode(list(args), limit=self._runtime.settings.value_limit_bytes)
        return query_run(self._runtime, self._namespace, self.run_id, name, packed, timeout_s=seconds)

    def update(
        self, name: str, *args: Any, update_id: str | None = None, timeout: float | timedelta | None = None
    ) -> Any:
        """Ask the workflow to change, and wait for its answer.

        Args:
            name: An update that its code registers with ``workflow.update(name, fn)``.
            args: Arguments of that function.
            update_id: The same id in the same run is carried out once and answered alike, however often it is asked;
                None: a new one.
            timeout: Longest wait, in seconds or as a timedelta; None waits for ever. The update goes on.

        Returns:
            What the function returns.

        Raises:
            UpdateRejectedError: Its validator refused, or there is no such update; nothing has happened.
            UpdateFailedError: The function failed, or the workflow ended before it was done.
            WorkflowClosedError: The workflow ended before it took the update; nothing has happened.
            WorkflowNotFoundError: No such workflow.
            StoreError: Its inbox is full, or it was sent too many updates.
            EncodeError: An argument cannot be carried.
            ValueError: The name or the update id is empty, or the name begins with ``@``.
            TimeoutError: No answer yet; ask again with the same update id, which the message names.
        """
        seconds = wait_seconds(timeout)
        wanted = make_update(self._runtime, name, args, update_id)
        run_id = send_update(self._runtime, self._namespace, self.run_id, wanted, workflow_id=self.id)
        return await_update(self._runtime, self._namespace, run_id, wanted, workflow_id=self.id, timeout_s=seconds)

    def cancel(self, reason: str = "", *, request_id: str | None = None) -> None:
        """Ask the workflow to end: it gets a CANCEL event and decides itself.

        Its activities, timers and children go on unless its code takes them back, as ``workflow.cancel_pending()``
        does.

        Args:
            reason: Why; the code reads it in the event.
            request_id: The same id asks once, for a day; None: a new one for each call.

        Raises:
            WorkflowClosedError: It has ended.
            WorkflowNotFoundError: No such workflow.
        """
        check_text("a reason", reason)
        marked = f"cancel/{check_id('a request id', request_id)}" if request_id is not None else None
        self._deliver(encode_input(Code.CANCEL_REQUESTED, reason, ""), marked, "a cancel request")

    def terminate(self, reason: str = "") -> None:
        """End the workflow at once. None of its code runs any more, compensations included.

        Args:
            reason: Why; kept in the history.

        Raises:
            WorkflowClosedError: It has ended.
            WorkflowNotFoundError: No such workflow.
        """
        check_text("a reason", reason)
        delivery = terminate_on(self._runtime, self._namespace, self.run_id, reason=reason)
        if delivery.status == "closed":
            raise WorkflowClosedError(f"workflow {self.id!r} cannot be terminated: it is {delivery.detail}")

    def retry(self) -> None:
        """Let a parked run try again.

        Raises:
            WorkflowClosedError: It is not parked.
            WorkflowNotFoundError: No such workflow.
        """
        runs, run_id = self._runtime.store(self._namespace).runs, self.run_id
        queue = runs.record(run_id).fields.get("queue", "")
        delivery = runs.unpark(run_id)
        if delivery.status != "running":
            raise WorkflowClosedError(f"workflow {self.id!r} is not parked: it is {delivery.detail}")
        self._wake(run_id, queue)

    def pause(self, note: str = "", *, by: str = "") -> None:
        """Let the workflow make no more steps until :meth:`resume`.

        What is sent to it, its activities and its timers go on; what they bring waits unread. A time limit on the run
        goes on too. Pausing a paused workflow replaces the note.

        Args:
            note: Why, for people.
            by: Who asks for it.

        Raises:
            WorkflowClosedError: It is not running.
            WorkflowNotFoundError: No such workflow.
        """
        check_text("a note", note)
        check_text("the name of who pauses", by)
        runs, run_id = self._runtime.store(self._namespace).runs, self.run_id
        runs.record(run_id)  # an unknown one is told as such
        delivery = self._runtime.store(self._namespace).repairs.pause(run_id, by=by, note=note)
        if delivery.status != "paused":
            raise WorkflowClosedError(f"workflow {self.id!r} cannot be paused: it is {delivery.detail}")

    def resume(self) -> None:
        """Let a paused workflow go on; one that is running is left alone.

        Raises:
            WorkflowClosedError: It is neither paused nor running.
            WorkflowNotFoundError: No such workflow.
        """
        run_id = self.run_id
        queue = self._runtime.store(self._namespace).runs.record(run_id).fields.get("queue", "")
        delivery = self._runtime.store(self._namespace).repairs.resume(run_id)
        if delivery.status != "running":
            raise WorkflowClosedError(f"workflow {self.id!r} is not paused: it is {delivery.detail}")
        self._wake(run_id, queue)

    def upgrade(self, *, dry_run: bool = False) -> Move:
        """Move the run to the code that this application has, if that code fits the run's history.

        The history is replayed against the code first. A run that it does not fit stays on the code that it is on.

        Args:
            dry_run: Only say whether it would fit.

        Returns:
            What became of it, and why not.

        Raises:
            WorkflowNotFoundError: No such workflow.
        """
        store, run_id = self._runtime.store(self._namespace), self.run_id
        if dry_run:
            return check_run(self._runtime, store, store.runs.record(run_id))
        return move_run(self._runtime, store, run_id)

    def reset(
        self, to_event: int | str, reason: str = "", *, signals: bool = True, new_code: bool = False
    ) -> WorkflowHandle:
        """Let a new run take the place of this one, from an event of its history on.

        The history up to the event and the commands that it caused is copied; this run is ended if it is open. What is
        open there is asked for again: activities get new attempts, timers the time that is left to them; children go
        on and answer the new run. Whoever waits for the workflow waits for the new run.

        Args:
            to_event: Number of an input in the history, counted from 1; or ``start``, ``last``, ``first-failure``
                (before the first failure of an activity came), ``last-activity`` (before the last answer of one came).
            reason: Kept in the history of this run.
            signals: Signals that came after the event, and what has not been read yet, go to the new run.
            new_code: The new run is on the code that this application has, if that fits the history up to the event.

        Returns:
            Handle of the new run.

        Raises:
            ValueError: No run can go on from there; the message says which events there are.
            NondeterminismError: The code does not fit the history up to there.
            WorkflowClosedError: Another run has taken its place.
            WorkflowNotFoundError: No such workflow.
        """
        check_text("a reason", reason)
        new_id = reset_run(
            self._runtime, self._namespace, self.run_id, to_event, reason=reason, signals=signals, new_code=new_code
        )
        return WorkflowHandle(self._runtime, self._namespace, self.id, new_id, self._pid)

    def fork(
        self, from_event: int | str = "last", *, id: str | None = None, edit: tuple[int, Any] | None = None,  # noqa: A002
        new_code: bool = False, force: bool = False,
    ) -> WorkflowHandle:  # fmt: skip
        """Make another workflow that begins with this one's history up to an event; this one goes on by itself.

        Args:
            from_event: As for :meth:`reset`.
            id: Its name; None: one made of this workflow's.
            edit: Number of an activity with a recorded result, and the result that it is to have instead; what came
                after that is dropped.
            new_code: It is on the code that this application has, if that fits the history up to there.
            force: Also where a child or a request to another workflow is open, which will not answer it.

        Returns:
            Handle of the new run.

        Raises:
            ValueError: No run can go on from there, there is no such result, or something open cannot be asked again.
            NondeterminismError: The code does not fit the history up to there.
            WorkflowAlreadyStartedError: The id is taken.
            WorkflowNotFoundError: No such workflow.
        """
        workflow_id = id if id is not None else f"{self.id}-fork-{os.urandom(3).hex()}"
        new_id = fork_run(
            self._runtime, self._namespace, self.run_id, from_event, workflow_id=workflow_id, edit=edit,
            new_code=new_code, force=force,
        )  # fmt: skip
        return WorkflowHandle(self._runtime, self._namespace, workflow_id, new_id)

    def preview(
        self, event: int | str = "last", *, edit: tuple[int, Any] | None = None, new_code: bool = False
    ) -> Preview:
        """Where :meth:`reset` or :meth:`fork` would begin, and what the code would ask for; nothing is written.

        Args:
            event: As for :meth:`reset`.
            edit: As for :meth:`fork`.
            new_code: As for both.

        Returns:
            The place, what is open there, and what is kept and dropped.

        Raises:
            ValueError: No run can go on from there, or there is no such result.
            NondeterminismError: The code does not fit the history up to there.
            WorkflowNotFoundError: No such workflow.
        """
        return preview_copy(self._runtime, self._namespace, self.run_id, event, edit=edit, new_code=new_code)

    def _wake(self, run_id: RunId, queue: str) -> None:
        # The sweep would find it too, a moment later.
        self._runtime.messages.publish(self._runtime.messages.resume(self._namespace, run_id, queue=queue))

    def describe(self) -> Description:
        """Where it stands; read from the store, no worker needed.

        Raises:
            WorkflowNotFoundError: No such workflow.
        """
        runs, run_id = self._runtime.store(self._namespace).runs, self.run_id
        record = runs.record(run_id, extra=True)
        commands = runs.open_commands(run_id)
        return describe_record(record, self._namespace, commands, settings=self._runtime.settings)

    def watch(self, *, every: float | timedelta = 1.0) -> Iterator[Description]:
        """Where it stands, now and whenever that has changed, until it has ended; a run that follows is followed.

        Args:
            every: Time between two looks into the store, in seconds or as a timedelta. Its end is told at once.

        Returns:
            An iterator; the last state is that of the end. Stop whenever you like.

        Raises:
            WorkflowNotFoundError: No such workflow, now or any more.
            ValueError: The time is shorter than 50 ms.
        """
        return watch(self, every)

    def _of_run(self, run_id: RunId) -> WorkflowHandle:
        return WorkflowHandle(self._runtime, self._namespace, self.id, run_id, self._pid)

    def _when_ended(self, run_id: RunId) -> Subscription:
        return self._runtime.store(self._namespace).runs.subscribe_end(run_id)

    def history(self) -> Iterator[events.Event]:
        """Its events, oldest first, read page by page.

        Raises:
            WorkflowNotFoundError: No such workflow.
        """
        for event in self._runtime.store(self._namespace).runs.history(self.run_id):
            yield events.decode(event)

    def raw_history(self, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Its events as stored, for a replay elsewhere.

        Args:
            start: Number of events to leave out at the beginning.
            stop: Number of the last event wanted; None for all.

        Returns:
            The encoded events, oldest first, read page by page.
        """
        return self._runtime.store(self._namespace).runs.history(self.run_id, start=start, stop=stop)

    def code(self) -> bytes | None:
        """The encoded code bundle that the run is pinned to, for a replay elsewhere; None when it is stored nowhere.

        Raises:
            WorkflowNotFoundError: No such workflow.
        """
        runs, run_id = self._runtime.store(self._namespace).runs, self.run_id
        return runs.bundle(run_id, runs.record(run_id).fields.get("bundle", ""))

    def _deliver(self, item: bytes, request_id: str | None, what: str) -> None:
        # Others may be sent the same request: what it marks is this workflow's.
        request_id = f"signal/{self.id}/{request_id}" if request_id else f"client/{os.urandom(12).hex()}"
        delivery = deliver_on(self._runtime, self._namespace, self.run_id, item, request_id=request_id)
        if delivery.status == "closed":
            raise WorkflowClosedError(f"workflow {self.id!r} takes no more messages ({what}): it is {delivery.detail}")
        if delivery.status == "full":
            raise InboxFullError(self.id, int(delivery.detail))
