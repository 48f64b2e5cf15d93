"""What the store's verbs answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration.types import RunId

__all__ = ["Copy", "Delivery", "Following", "Lease", "Push", "Pushes", "RunRecord", "StartResult", "Step", "Sweep"]

Push = tuple[Any, ...]
"""One broker command, as the scripts take it: name, key, arguments."""


@dataclass(frozen=True, slots=True)
class Pushes:
    """Broker messages that a script gives out together with its writes.

    Attributes:
        database: The broker's database on the same server.
        commands: The commands; empty when the broker is not reachable from a script.
    """

    database: int = 0
    commands: tuple[Push, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to advance a run for a moment, and what there is to read.

    Attributes:
        run_id: The run.
        fence: To be shown at the commit.
        time_ms: Redis' time now, never less than the run's last.
        length: Number of events in the history.
        tries: Leases since the last commit, this one included.
        inputs: Unread inputs, oldest first, without their time.
        tail: Events after those that the holder said it knew, when they are few.
        problem: Why the first unread input cannot be read; empty when it can.
    """

    run_id: RunId
    fence: int
    time_ms: int
    length: int
    tries: int
    inputs: tuple[bytes, ...]
    tail: tuple[bytes, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step of a run writes.

    Attributes:
        workflow_id: Of the run.
        digest: Of the run's bundle.
        commit_id: Unique to this commit.
        owner: The holder.
        events: Encoded events, oldest first.
        ops: Effects, as ``redis_lua/include/step.lua`` names them.
        consumed: Inputs read from the head of the inbox.
        dropped: Of them, those that are not in the events because their command was closed.
        pushes: Broker messages, given out with the write.
        ending: Status the run ends with; empty while it goes on.
        following: The run that takes its place when it ends, as :meth:`Chains.pack` makes it; empty: none.
    """

    workflow_id: str
    digest: str
    commit_id: str
    owner: str
    events: Sequence[bytes]
    ops: Sequence[Sequence[Any]]
    consumed: int = 0
    dropped: int = 0
    pushes: Pushes = Pushes()
    ending: str = ""
    following: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """A run that takes the place of one that ends: continued as new, retried, or the next of a cron schedule.

    What the ended run has of the workflow goes over by itself: workflow id, outer Celery task, parent, watchers,
    attributes, execution deadline, unread signals.

    Attributes:
        run_id: Its id.
        digest: Of its code.
        code: The code; empty when it is stored, as the code of the run before it is.
        fields: What differs in its record.
        inputs: Its start, then signals that the run before had taken and not read.
        delay_ms: After which it begins; 0 for at once.
        run_timeout_ms: After which it is ended, counted from when it begins; 0 for never.
        pushes: The wake-up, given out if it begins at once.
    """

    run_id: RunId
    digest: str
    code: bytes = b""
    fields: Mapping[str, str | int] = field(default_factory=dict)
    inputs: Sequence[bytes] = ()
    delay_ms: int = 0
    run_timeout_ms: int = 0
    pushes: Pushes = Pushes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A run that begins with the history of another one.

    Attributes:
        run: The run: its id, code, record fields, and what waits in its inbox.
        started: Its first event.
        length: Number of events that it begins with.
        ops: What is open there, as ``redis_lua/include/step.lua`` names it.
        kept: Numbers of the children and requests of the other run that this one takes over.
    """

    run: Following
    started: bytes
    length: int
    ops: Sequence[Sequence[Any]] = ()
    kept: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of something sent to a run.

    Attributes:
        status: ``accepted``, ``wake`` (accepted, a wake-up must be published), ``duplicate``, ``closed``, ``full``,
            ``dropped``, ``retry``, ``waiting``, ``early``, ``gone``, ``busy``, ``idle`` or ``lease``.
        detail: Why, where there is a why.
        lease: With ``lease``: the right to advance the run.
    """

    status: str
    detail: str = ""
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class StartResult:
    """What became of a start.

    Attributes:
        status: ``started``, ``duplicate`` (this request was answered before), ``exists`` (use_existing), ``open``
            (another run of the id is open), ``refused`` (the reuse policy), ``full`` (with use_existing: its inbox
            takes no more), ``bundle_missing``.
        run_id: The run that the answer is about.
        detail: Status of the run in the way, with ``refused``; ``wake`` with ``exists``, when it has to be woken.
    """

    status: str
    run_id: RunId
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Where a run stands, as stored.

    Attributes:
        run_id: The run.
        fields: The record, decoded as text.
        extra: The larger facts, as bytes.
        unread: Inputs that the run has not consumed.
    """

    run_id: RunId
    fields: dict[str, str]
    extra: dict[str, bytes] = field(default_factory=dict)
    unread: int = 0

    @property
    def status(self) -> str:
        """running, parked, completed, failed, cancelled, terminated, timed_out ..."""
        return self.fields.get("status", "unknown")

    @property
    def task_id(self) -> str:
        """Id of the Celery task that the run completes; empty for none."""
        return self.fields.get("task", self.fields["id"])

    def number(self, name: str) -> int:
        """A field as a whole number, 0 when it is absent."""
        return int(self.fields.get(name) or 0)

    @property
    def moves(self) -> tuple[tuple[int, str], ...]:
        """Where the run was moved to other code: number of the last event before, digest of the code until then."""
        parts = [part.partition(":") for part in self.fields.get("moved", "").split(",") if part]
        return tuple((int(number), digest) for number, _, digest in parts)

    @property
    def lenient_until(self) -> int:
        """Number of the last event that other code than the run's has made; 0 when all are its own."""
        return self.moves[-1][0] if "moved" in self.fields else 0


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one look at a shard found.

    Attributes:
        time_ms: Redis' time.
        runs: Runs with something to read and no live holder.
        hand: Timers to be handed to the broker, with their due times.
        fire: Timers and deadlines that are due.
        outbox: Entries left by commits, with their contents.
        unclaimed: Attempts dispatched a while ago and claimed by nobody, with the time of dispatch.
        next_due_ms: Next due time that nobody else looks after; 0 when there is none within the horizon.
        schedule_ms: Time of the next look at a schedule, past or to come; 0 when there is none.
        leftovers: Results that nobody needs any more, as :meth:`~orchestration.store.foreign.Foreign.note_report` was
            given them. They are not found again.
        shown_ms: Time of the next look after the Celery task of an open run; 0 when there is none.
    """

    time_ms: int
    runs: tuple[RunId, ...]
    hand: tuple[tuple[str, int], ...]
    fire: tuple[str, ...]
    outbox: tuple[tuple[str, bytes], ...]
    unclaimed: tuple[tuple[str, int], ...]
    next_due_ms: int
    schedule_ms: int
    leftovers: tuple[str, ...] = ()
    shown_ms: int = 0
