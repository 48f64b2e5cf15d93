"""One step of a run in the making: inputs through the Lua machine, local activities beside it, nothing written yet."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from celery.exceptions import SoftTimeLimitExceeded

from orchestration.core.events import Code
from orchestration.core.failures import failure_of
from orchestration.errors import StoreError
from orchestration.faults import fault
from orchestration.store.inputs import stamp
from orchestration.store.results import Lease, Step
from orchestration.tasks.cache import Session
from orchestration.tasks.effects import Effects
from orchestration.tasks.limits import exceeded
from orchestration.tasks.local import LocalCall
from orchestration.tasks.outcomes import Outcome
from orchestration.tasks.presence import Presence
from orchestration.tasks.runtime import Runtime
from orchestration.tasks.updates import admit_update

__all__ = ["ANSWERS", "Hand", "ParkError", "StepMaking"]

logger = logging.getLogger(__name__)

ANSWERS = frozenset((Code.ACTIVITY_COMPLETED, Code.ACTIVITY_FAILED, Code.TIMER_FIRED, Code.OPERATION_DONE))


class ParkError(Exception):
    """The run cannot go on; an operator decides."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason


class StepMaking:
    """Runs inputs through a machine and collects what they cause.

    A context manager: unless :meth:`adopt` has been called, leaving it gives the local activities up.

    Args:
        runtime: Of this process.
        presence: Says that this process lives.
        session: The run.
        lease: The right to advance it.

    Attributes:
        lease: The same, its time carried on to that of the last input.
        begun_ms: When it was begun, by Redis' clock.
        adopted: Local activities that are ordinary attempts of this process once the step is written.
    """

    def __init__(self, runtime: Runtime, presence: Presence, session: Session, lease: Lease) -> None:
        self._runtime = runtime
        self._presence = presence
        self._unread = deque(lease.inputs)
        self._written: list[bytes] = []
        self._consumed = self._dropped = 0
        self._leased = time.monotonic()
        self._leased_ms = lease.time_ms
        self._is_written = False
        self.begun_ms = lease.time_ms
        self.session = session
        self.lease = lease
        self.effects = Effects(runtime, session, lease)
        self.adopted: list[LocalCall] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_written:
            self.give_up()

    def run(self, *, until_local: bool = False) -> None:
        """Apply the inputs, and the results of the local activities that they call.

        Args:
            until_local: Stop as soon as a local activity has been called; another call goes on.
        """
        local = self.effects.locals
        while True:
            with self._presence.in_lua():
                while self._unread and not local and not self.session.machine.closed:
                    self._consume(self._unread.popleft())
            if not local or until_local or self.session.machine.closed:
                break
            local.begin(self._leased)
            answer = local.answer(self._now_ms)
            if answer is not None:
                with self._presence.in_lua():
                    self._apply(answer, self._now_ms())
            elif local:
                break

    def goes_on_with(self, lease: Lease) -> bool:
        """Take a lease over, if the step made without one so far is the beginning of what is to be done now."""
        s, mine = self.session, self.lease
        if s.epoch != self._runtime.epoch():
            return False
        if (lease.run_id, lease.fence, lease.length) != (mine.run_id, s.fence, s.length):
            return False
        if lease.inputs[: self._consumed] != mine.inputs[: self._consumed]:
            return False
        self._unread = deque(lease.inputs[self._consumed :])
        self._leased, self._leased_ms = time.monotonic(), lease.time_ms
        self.lease = replace(lease, time_ms=mine.time_ms)
        return True

    def step(self) -> Step:
        """What is to be written."""
        machine, runtime, effects, session = self.session.machine, self._runtime, self.effects, self.session
        if problem := exceeded(runtime.settings, machine.usage()):
            raise ParkError("limit", problem)
        fault("after_advance")
        if not session.length:
            effects.tell("begun")
        if not machine.closed:
            for call in effects.locals.left():
                effects.adopt(call, self._now_ms())
                if call.begun:
                    self._presence.hold(session.namespace)
                    self.adopted.append(call)
            effects.ops.append(["extra", "places", machine.packed_places()])
            if session.shows and runtime.settings.state_after_ms:
                effects.ops.append(["show", runtime.settings.state_after_ms])
        return Step(
            workflow_id=session.workflow_id, digest=session.digest, commit_id=os.urandom(8).hex(), owner=runtime.holder,
            events=self._written, ops=effects.ops, consumed=self._consumed, dropped=self._dropped,
            pushes=effects.pushes(), ending=effects.ending, following=effects.following,
        )  # fmt: skip

    @property
    def seconds(self) -> float:
        """Time since it has the lease."""
        return time.monotonic() - self._leased

    def adopt(self) -> None:
        """The step is written."""
        self._is_written = True
        for call in self.adopted:
            call.committed.set()
        if self.session.machine.closed:
            self.effects.locals.give_up()

    def give_up(self) -> None:
        """The step will not be written: what still runs for it is wanted by nobody."""
        self.effects.locals.give_up()
        for _ in self.adopted:
            self._presence.release(self.session.namespace)

    def _now_ms(self) -> int:
        """Redis' time, carried on by a clock that only runs forward; never less than that of an input before."""
        return max(self._leased_ms + int((time.monotonic() - self._leased) * 1000), self.lease.time_ms)

    def _consume(self, item: bytes) -> None:
        self._consumed += 1
        cancelled = self.session.cancelled
        if cancelled and item[1] in ANSWERS and self.effects.number_of(item) in cancelled:
            self._dropped += 1
            return
        if item[1] == Code.UPDATE and not admit_update(
            self._runtime, self._presence, self.session, item, effects=self.effects, written=self._written
        ):
            return
        self._apply(item, max(self._leased_ms, self.lease.time_ms))
        self.effects.input_applied(item)

    def _apply(self, item: bytes, time_ms: int) -> None:
        if time_ms > self.lease.time_ms:
            self.lease = replace(self.lease, time_ms=time_ms)
        self.effects.time_ms = time_ms
        event = stamp(item, time_ms)
        commands = self.session.machine.apply(event)
        self._written.append(event)
        for command in commands:
            self.effects.command(command)
        self._written.extend(commands)


class Hand(threading.local):
    """What one thread has in hand beside the run that it advances."""

    def __init__(self) -> None:
        self._ahead: StepMaking | None = None
        self._adopted: list[LocalCall] = []
        self._ended: queue.SimpleQueue[LocalCall] = queue.SimpleQueue()
        self._is_settling = False
        self._is_expired = False

    def keep_ahead(self, making: StepMaking) -> None:
        """Keep a step made before its lease: the next lease of this thread is likely for it."""
        self._drop_ahead()
        self._ahead = making

    def take_ahead(self, namespace: str, lease: Lease) -> StepMaking | None:
        """The step that was kept, if it goes on with a lease."""
        making, self._ahead = self._ahead, None
        if making is None:
            return None
        if making.session.namespace == namespace and making.goes_on_with(lease):
            return making
        self._ahead = making
        self._drop_ahead()
        return None

    def _drop_ahead(self) -> None:
        making, self._ahead = self._ahead, None
        if making is not None:
            making.give_up()
            making.session.machine.close()

    def adopt(self, making: StepMaking) -> None:
        """A step is written: wait for what it has left running, when there is nothing else to do."""
        making.adopt()
        self._is_expired = self._is_expired or making.effects.locals.expired
        for call in making.adopted:
            self._adopted.append(call)
            call.redirect(self._ended)

    def settle(self, report: Callable[[LocalCall], None]) -> None:
        """Wait for the local activities that have become ordinary ones of this thread, and report each.

        The thread keeps its slot in the worker's pool meanwhile, as it would for any activity.
        """
        if self._is_settling:
            return
        self._is_settling = True
        try:
            while self._adopted:
                call = self._next()
                self._adopted.remove(call)
                with contextlib.suppress(StoreError):  # it runs out, or is found with a process that is gone
                    report(call)
        finally:
            self._is_settling = self._is_expired = False

    def _next(self) -> LocalCall:
        try:
            while not self._is_expired:
                call = self._ended.get()
                if call in self._adopted and call.outcome is not None:
                    return call
        except SoftTimeLimitExceeded:
            self._is_expired = True
        call = self._adopted[0]
        if call.outcome is None:
            call.give_up("the soft time limit of the task that ran it is over")
            call.outcome = Outcome("failed", failure=failure_of(SoftTimeLimitExceeded()))
        return call
