"""Lua machines of runs that this process advanced lately. A miss is a replay, never an error."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestration.core.identity import Identity
from orchestration.core.machine import Machine, Usage
from orchestration.tasks.chain_options import ChainFacts
from orchestration.tasks.templates import about_run
from orchestration.telemetry.announcer import RunFacts
from orchestration.telemetry.observed import Observed

__all__ = ["Session", "SessionCache"]


@dataclass(slots=True)
class Session:
    """A run as this process knows it.

    Attributes:
        namespace: Of the run.
        run_id: The run.
        workflow_id: Its workflow id.
        workflow_type: Entry id of its code.
        digest: Of its bundle.
        queue: Its task queue; empty for Celery's default.
        pid: Its address.
        context: Context values it was started with.
        facts: What decides about the run after it.
        args: What it was started with, encoded; empty when no run of its would be given them again.
        machine: The Lua machine, standing where the history ends.
        length: Number of events it has seen.
        fence: The fence after its last commit.
        time_ms: Time of its last input.
        epoch: Connections lost so far when its history was read: what Redis holds may be older after a loss.
        in_flight: Numbers of its activities, and of timers due soon, that have not come back.
        cancelled: Numbers of commands that the code has taken back: what still arrives for them is dropped.
        bytes: Memory of the machine when it was last put away.
        usage: What it had come to after its last commit here.
        shows: Its Celery task has a state that says where it stands.
        task_id: Of the Celery task that it completes; of a child its run id.
        observed: What telemetry follows of it; None: that is off.
    """

    namespace: str
    run_id: str
    workflow_id: str
    workflow_type: str
    digest: str
    queue: str
    pid: str
    context: dict[str, object]
    facts: ChainFacts
    args: bytes
    machine: Machine
    length: int
    fence: int
    time_ms: int
    epoch: int = 0
    in_flight: set[int] = field(default_factory=set)
    cancelled: set[int] = field(default_factory=set)
    bytes: int = field(default=0)
    usage: Usage = field(default_factory=Usage)
    shows: bool = False
    task_id: str = ""
    observed: Observed | None = None

    @property
    def identity(self) -> Identity:
        """In whose name it runs: as its start says."""
        return Identity.of(self.facts.meta)

    @property
    def about(self) -> str:
        """Which run it is, for people."""
        return about_run(self.workflow_id, self.workflow_type)

    @property
    def run_facts(self) -> RunFacts:
        """Who it is, for outsiders."""
        return RunFacts(
            namespace=self.namespace, workflow_id=self.workflow_id, run_id=self.run_id,
            workflow_type=self.workflow_type, task_id=self.task_id,
        )  # fmt: skip


class SessionCache:
    """Keeps sessions, the latest ones, within a number and a size.

    Args:
        runs: Most sessions kept.
        size_bytes: Most memory of all machines together.
        epoch: Number of connections lost so far; sessions of an earlier one are not used any more.
    """

    def __init__(self, *, runs: int, size_bytes: int, epoch: Callable[[], int] = int) -> None:
        self._epoch = epoch
        self._runs = runs
        self._size_bytes = size_bytes
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def known(self, namespace: str, run_id: str) -> int:
        """Number of events that the cached session of a run has seen; -1 for none."""
        with self._lock:
            session = self._sessions.get((namespace, run_id))
            return -1 if session is None or session.epoch != self._epoch() else session.length

    def take(self, namespace: str, run_id: str) -> Session | None:
        """Take a session out; it may stand behind the store."""
        with self._lock:
            session = self._sessions.pop((namespace, run_id), None)
            if session is not None:
                self._bytes -= session.bytes
            return session if session is not None and session.epoch == self._epoch() else None

    def take_sole(self, namespace: str, run_id: str, seq: int) -> Session | None:
        """Take a session out if an activity is the only thing it waits for from a worker.

        Then whoever has that activity's result is most likely the next to advance the run.
        """
        with self._lock:
            session = self._sessions.get((namespace, run_id))
            if session is None or session.in_flight != {seq} or session.epoch != self._epoch():
                return None
            del self._sessions[(namespace, run_id)]
            self._bytes -= session.bytes
            return session

    def put(self, session: Session) -> None:
        """Put a session in; older ones go out when there is no room."""
        session.bytes = session.machine.memory_bytes()
        out: list[Session] = []
        with self._lock:
            key = (session.namespace, session.run_id)
            old = self._sessions.pop(key, None)
            if old is not None:
                self._bytes -= old.bytes
                out.append(old)
            self._sessions[key] = session
            self._bytes += session.bytes
            while self._sessions and (len(self._sessions) > self._runs or self._bytes > self._size_bytes):
                _, oldest = self._sessions.popitem(last=False)
                self._bytes -= oldest.bytes
                out.append(oldest)
        for gone in out:
            gone.machine.close()

    def clear(self) -> None:
        """Drop every session."""
        with self._lock:
            sessions, self._sessions, self._bytes = list(self._sessions.values()), OrderedDict(), 0
        for session in sessions:
            session.machine.close()
