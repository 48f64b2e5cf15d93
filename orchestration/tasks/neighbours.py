"""What a function does with workflows: starts them, sends to them, ends them, and hears of their end."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from orchestration.core import payload
from orchestration.core.events import Code
from orchestration.core.identity import Identity
from orchestration.core.pid import parse_pid
from orchestration.errors import OrchestrationError, StoreError, WorkflowNotFoundError
from orchestration.store.inputs import encode_input
from orchestration.tasks.children import where
from orchestration.tasks.completion import child_failure
from orchestration.tasks.outbox import deliver_on, start_problem, terminate_on
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.start_options import request_options
from orchestration.tasks.starts import StartRequest, start
from orchestration.tasks.waiting import wait_for_end
from orchestration.types import RunId

__all__ = ["Neighbours"]

logger = logging.getLogger(__name__)


class Neighbours:
    """The workflows around one call of a function.

    Args:
        runtime: Of this process.
        pid: Address of the function.
        context: Context values that what it starts inherits.
        answer: Takes an input for the function's machine; called from threads too.
        identity: In whose name it runs; what it starts inherits it.
    """

    def __init__(
        self, runtime: Runtime, pid: str, context: Mapping[str, Any], answer: Callable[[bytes], None],
        identity: Identity | None = None,
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._identity = identity or Identity()
        self._pid = pid
        self._context = context
        self._answer = answer
        self._stop = threading.Event()

    def close(self) -> None:
        """The function has ended: nobody waits for anything."""
        self._stop.set()

    def send(self, seq: int, pid: str, topic: str, args: bytes) -> None:
        """Signal a workflow."""
        item = encode_input(Code.SIGNAL, topic, args, self._pid)

        def act(namespace: str, run_id: RunId) -> tuple[str, str] | None:
            status = deliver_on(self._runtime, namespace, run_id, item).status
            if status == "full":
                return "RateLimited", f"the inbox of {pid} is full"
            return _ended(pid) if status == "closed" else None

        self._attempt_to(seq, pid, act)

    def cancel(self, seq: int, pid: str, reason: str, terminate: bool) -> None:
        """Ask a workflow to end, or end it."""

        def act(namespace: str, run_id: RunId) -> tuple[str, str] | None:
            if terminate:
                status = terminate_on(self._runtime, namespace, run_id, reason=reason, sender=self._pid).status
            else:
                item = encode_input(Code.CANCEL_REQUESTED, reason, self._pid)
                status = deliver_on(self._runtime, namespace, run_id, item).status
            return _ended(pid) if status == "closed" else None

        self._attempt_to(seq, pid, act)

    def watch(self, seq: int, pid: str) -> None:
        """Tell of the end of a workflow, at once when it has ended already."""
        found = self._find(seq, pid)
        if found is None:
            return

        def tell(ok: bool, value: bytes) -> None:
            self._answer(encode_input(Code.WATCHED_ENDED, pid, ok, value))

        self._done(seq, None)  # first: the code must know that it watches when it is told of the end
        self._wait(*found, tell)

    def start(self, seq: int, workflow_type: str, host: str, args: bytes, options: dict[str, Any]) -> None:
        """Start a workflow."""
        try:
            queue, worker = where(self._runtime, host, None)
            workflow_id = str(options.get("id") or options.get("name") or f"{os.urandom(12).hex()}_{seq}")
            started = start(
                self._runtime,
                StartRequest(
                    workflow_type=workflow_type, args=args, workflow_id=workflow_id,
                    request_id=f"spawn/{os.urandom(12).hex()}", queue=options.get("task_queue") or queue,
                    worker=worker, context={**self._context, **options.get("ctx", {})}, sender=self._pid,
                    identity=Identity.of(options, self._identity), **request_options(options),
                ),
            )  # fmt: skip
        except (OrchestrationError, ValueError) as error:
            failure = payload.encode_failure(str(error), kind=start_problem(error), retryable=False)
            self._answer(encode_input(Code.CHILD_START_FAILED, seq, failure))
            return
        self._answer(encode_input(Code.CHILD_STARTED, seq, started.pid))
        if options.get("wait"):

            def tell(ok: bool, value: bytes) -> None:
                self._answer(encode_input(Code.CHILD_ENDED, seq, started.pid, ok, value))

            self._wait(started.namespace, started.run_id, tell)

    def _wait(self, namespace: str, run_id: RunId, tell: Callable[[bool, bytes], None]) -> None:
        store = self._runtime.store(namespace)

        def wait() -> None:
            try:
                found = wait_for_end(store, run_id, stop=self._stop)
                if found is None:
                    return
                record, outcome = found
            except WorkflowNotFoundError as error:  # it has ended, and its retention is over
                tell(False, payload.encode_failure(str(error), kind="NotFound", retryable=False))
                return
            except StoreError as error:  # it is away for longer than anybody waits
                tell(False, payload.encode_failure(str(error), kind="Unavailable", retryable=True))
                return
            if outcome.ok:
                tell(True, outcome.value)
            else:
                tell(False, payload.encode(child_failure(record, outcome.failure or {})))

        threading.Thread(target=wait, name=f"watch {run_id}", daemon=True).start()

    def _attempt_to(
        self, seq: int, pid: str, act: Callable[[str, RunId], tuple[str, str] | None]
    ) -> None:
        found = self._find(seq, pid)
        if found is not None:
            self._done(seq, act(*found))

    def _find(self, seq: int, pid: str) -> tuple[str, RunId] | None:
        """Namespace and latest run of an address; None, and the command is answered, when there is none."""
        target = parse_pid(pid)
        if target is None:
            self._done(seq, ("NotFound", f"could not resolve '{pid}' as PID or registered name"))
            return None
        for namespace in self._runtime.namespaces:
            try:
                return namespace, self._runtime.store(namespace).runs.current(target.unique)
            except WorkflowNotFoundError:
                continue
        self._done(seq, ("NotFound", f"process not found: {pid}"))
        return None

    def _done(self, seq: int, problem: tuple[str, str] | None) -> None:
        value = payload.NIL
        if problem is not None:
            value = payload.encode_failure(problem[1], kind=problem[0], retryable=problem[0] == "RateLimited")
        self._answer(encode_input(Code.OPERATION_DONE, seq, problem is None, value))


def _ended(pid: str) -> tuple[str, str]:
    return "NotFound", f"process not found: {pid} has ended"
