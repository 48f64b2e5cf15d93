"""``revoke`` of the Celery task that a workflow is: the run is asked to cancel, durably, by whichever worker hears it.

Celery's own way would mark the task as revoked while its run goes on, and have each worker drop the messages of its id.
For a task that is a run none of that is done: a run that has not begun ends as cancelled, one that has gets a cancel
request, and the task has the state REVOKED when the run has ended so.

The task of an activity is revoked as any other: each worker drops its message, however often it is sent. So the attempt
ends with that, as it does on a worker without the extension.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack
from celery.signals import task_revoked
from celery.worker.control import Panel
from celery.worker.request import Request
from celery.worker.state import task_ready

from orchestration.core.events import Code
from orchestration.errors import WorkflowNotFoundError
from orchestration.store.attempts import AttemptId
from orchestration.store.inputs import encode_input
from orchestration.store.results import RunRecord
from orchestration.tasks.aside import Performs
from orchestration.tasks.effects import read_activity
from orchestration.tasks.messages import MARK, AttemptMark
from orchestration.tasks.outbox import Outbox, deliver_on
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.starts import RUN_MARK
from orchestration.types import RunId

__all__ = ["StartMessage", "cancel_tasks", "end_unbegun", "install_revoking"]

logger = logging.getLogger(__name__)

_WAIT_S = 5.0
"""How long a worker's main thread waits for the store. It goes on trying after that."""


def end_unbegun(
    runtime: Runtime, namespace: str, run_id: RunId, *, reason: str, timer: str = "", outbox: Performs | None = None
) -> bool:
    """End a run as cancelled, if nothing of it has been done yet.

    Args:
        runtime: Of this process.
        namespace: Of the run.
        run_id: The run.
        reason: Why; kept in the history.
        timer: The deadline that asks for it; empty: somebody does.
        outbox: Tells of its end; None: it is told at once.

    Returns:
        False when it has begun.
    """
    store = runtime.store(namespace)
    entry: bytes = msgpack.packb(["complete", namespace, run_id])
    try:
        answer = store.runs.end(
            run_id, status="cancelled", code=Code.TERMINATED, details=[reason, ""], outbox_id=f"c/{run_id}",
            entry=entry, timer=timer, unbegun=True,
        )  # fmt: skip
    except WorkflowNotFoundError:
        if timer:
            store.timers.forget(timer)
        return True
    if answer.status == "ended":
        (outbox or Outbox(runtime)).perform(store, [(f"c/{run_id}", entry)])
    return answer.status != "begun"


def cancel_tasks(
    runtime: Runtime, task_ids: Sequence[str], *, reason: str = "revoked", begun: bool = True
) -> set[str]:
    """Cancel the runs that Celery tasks stand for.

    Args:
        runtime: Of this process.
        task_ids: Ids of Celery tasks, ours or not.
        reason: Why; the code reads it in its CANCEL event.
        begun: Those that have begun, too.

    Returns:
        Those of them that are runs, ended ones included.
    """
    found: set[str] = set()
    for namespace in runtime.namespaces:
        for task_id, record in runtime.store(namespace).runs.of_tasks(task_ids).items():
            found.add(task_id)
            if record.status in ("running", "paused", "parked") or "next" in record.fields:
                _cancel(runtime, namespace, record, reason, begun)
    return found


def _cancel(runtime: Runtime, namespace: str, record: RunRecord, reason: str, begun: bool) -> None:
    run_id = record.run_id
    if not record.number("length") and end_unbegun(runtime, namespace, run_id, reason=reason):
        return
    if not begun:
        return
    # Each worker of the deployment hears a broadcast: one of them is enough.
    item = encode_input(Code.CANCEL_REQUESTED, reason, "")
    deliver_on(runtime, namespace, run_id, item, request_id=f"revoke/{run_id}")


def _within(act: Callable[[], Any], default: Any) -> Any:
    """Do something that needs the store without holding a worker's main thread up for longer than a moment."""
    answer = [default]
    error: list[BaseException] = []

    def run() -> None:
        try:
            answer[0] = act()
        except Exception as raised:
            error.append(raised)
            logger.exception("a revoke may not have reached its run")

    thread = threading.Thread(target=run, name="orchestration-revoke", daemon=True)
    thread.start()
    thread.join(_WAIT_S)
    if thread.is_alive():
        logger.warning("a revoke waits for Redis; it is done when Redis answers")
    return answer[0]


class StartMessage(Request):  # type: ignore[misc]
    """The message of a workflow's start in a worker: what would mark its task as revoked cancels its run."""

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        parts = self.app.orchestration.parts
        is_run = self.request_dict.get(RUN_MARK) is not None
        found = _within(
            # The broker may deliver a start again long after its run has begun: that one does not expire.
            lambda: cancel_tasks(parts.runtime, [self.id], reason=reason, begun=not expired),
            {self.id} if is_run else set(),
        )
        if self.id not in found:  # nobody has started a run with it yet
            super()._announce_revoked(reason, terminated, signum, expired)
            return
        task_ready(self)
        self.acknowledge()
        self._already_revoked = True


def install_revoking() -> None:
    """Have the remote control commands ``revoke`` and ``terminate`` cancel runs; other tasks they treat as before.

    Of those it is told when this worker drops one that is an attempt.
    """
    task_revoked.connect(_attempt_revoked, weak=False, dispatch_uid="orchestration-revoked")
    for name in ("revoke", "terminate"):
        original = Panel.data[name]
        if not getattr(original, "orchestrated", False):
            Panel.data[name] = _command(original)


def _attempt_revoked(sender: Any = None, request: Any = None, terminated: bool = False, **_: Any) -> None:
    header = getattr(request, MARK, None)
    parts = getattr(getattr(getattr(sender, "app", None), "orchestration", None), "parts", None)
    if header is None or parts is None:
        return

    def end() -> None:
        try:
            _end_attempt(parts, AttemptMark.from_header(header), terminated)
        except Exception:  # it is sent again, dropped again, and told of again
            logger.exception("a revoke has not reached its activity yet")

    threading.Thread(target=end, name="orchestration-revoked", daemon=True).start()


def _end_attempt(parts: Any, mark: AttemptMark, terminated: bool) -> None:
    attempt: AttemptId = mark.attempt
    found = parts.runtime.store(mark.namespace).attempts.read(attempt.run_id, attempt.seq)
    activity = read_activity(found[0]) if found else None
    if found is None or activity is None or found[1].attempt != attempt.attempt:
        return
    failure = {"message": f"the task of {mark.target} was revoked", "kind": "Canceled", "retryable": False}
    # A message that comes a second time is dropped too: the body that runs meanwhile reports for itself.
    states = "scheduled,waiting,claimed" if terminated else "scheduled,waiting"
    delivery = parts.attempts.decide(
        mark.namespace, attempt, mark.queue, activity, found[1], failure, claimed_by=found[1].owner or "-", final=True,
        states=states,
    )  # fmt: skip
    logger.info("activity ended by revoke: %s", delivery.status, extra=mark.facts)


def _command(original: Callable[..., Any]) -> Callable[..., Any]:
    def command(state: Any, *args: Any, **kwargs: Any) -> Any:
        parts = getattr(getattr(state.app, "orchestration", None), "parts", None)
        given = kwargs.get("task_id")
        if parts is None or args or not given:  # by the mailbox everything comes by name
            return original(state, *args, **kwargs)
        ids = _unique([given] if isinstance(given, str) else given)
        runs = _within(lambda: cancel_tasks(parts.runtime, ids), set())
        if not runs:
            return original(state, **kwargs)
        logger.info("cancel requested by revoke: %s", ", ".join(sorted(runs)))
        others = [task_id for task_id in ids if task_id not in runs]
        if others:
            return original(state, **{**kwargs, "task_id": others})
        return {"ok": f"runs {sorted(runs)} are asked to cancel"}

    command.orchestrated = True  # type: ignore[attr-defined]
    return command


def _unique(ids: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(task_id) for task_id in ids))
