"""Where a schedule stands, as it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgpack

from orchestration.core.schedule import ScheduleAction, SchedulePolicy, ScheduleSpec, time_text
from orchestration.errors import CorruptHistoryError

__all__ = ["Asked", "Backfill", "Definition", "Ending", "Outcome", "Running", "ScheduleState"]

_FORMAT = 1


class Asked(NamedTuple):
    """An action that is to be taken.

    Attributes:
        nominal_ms: Its time.
        overlap: Policy for it.
        origin: ``schedule``, ``trigger``, or ``backfill/<tag>``.
        workflow_id: Of the run, once it has been decided.
    """

    nominal_ms: int
    overlap: str
    origin: str = "schedule"
    workflow_id: str = ""

    def request_id(self, schedule_id: str) -> str:
        """The start's request id: the same action never starts a second run."""
        tail = "" if self.origin == "schedule" else f"/{self.origin}"
        return f"schedule/{schedule_id}/{self.nominal_ms}{tail}"


class Running(NamedTuple):
    """A run that was started and was open when last looked at: the first, when others have taken its place."""

    namespace: str
    workflow_id: str
    run_id: str
    nominal_ms: int
    is_asked: bool = False
    """It has been asked to end."""


class Ending(NamedTuple):
    """A run that has to make room."""

    namespace: str
    workflow_id: str
    run_id: str
    how: str
    """``cancel`` or ``terminate``."""


class Outcome(NamedTuple):
    """What became of an action, for people."""

    nominal_ms: int
    at_ms: int
    origin: str
    workflow_id: str
    run_id: str
    status: str
    """``started``, later how the run ended; ``refused`` or ``failed`` when it could not be started."""
    problem: str = ""


class Backfill(NamedTuple):
    """A stretch of the past that is still to be made good."""

    after_ms: int
    end_ms: int
    overlap: str
    tag: str


@dataclass(frozen=True, slots=True)
class Definition:
    """A schedule's definition with its id."""

    id: str
    spec: ScheduleSpec
    action: ScheduleAction
    policy: SchedulePolicy

    def workflow_id(self, nominal_ms: int) -> str:
        """Id of the run of a time."""
        return f"{self.action.workflow_id_prefix or self.id}-{time_text(nominal_ms)}"


@dataclass(slots=True)
class ScheduleState:
    """Where a schedule stands.

    Attributes:
        created_ms: When it was made.
        updated_ms: When its definition was last changed.
        queue: Where its workflow is served, for workers that do not know the workflow's code.
        cursor_ms: Times up to this one have been looked at.
        paused: It starts nothing of its own accord.
        note: Why, in the words of whoever paused or resumed it.
        left: Starts that remain of ``max_actions``; None without a limit.
        has_more: There is something that no look has gone through yet.
        manual_ms: Time of the last trigger.
        tries: Failed attempts to carry out what is decided.
        problem: Why the last of them failed.
        decided_ms: When it was decided.
        buffer: Actions that wait, oldest first.
        starting: Decided, not yet known to be started.
        ending: Decided, not yet known to be asked to end.
        running: Runs that were open when last looked at.
        backfills: Stretches of the past to be made good.
        recent: The last actions, the latest last.
        counts: ``started``, ``skipped``, ``missed``, ``dropped``, ``refused``, ``failed``.
    """

    created_ms: int = 0
    updated_ms: int = 0
    queue: str = ""
    cursor_ms: int = 0
    paused: bool = False
    note: str = ""
    left: int | None = None
    has_more: bool = False
    manual_ms: int = 0
    tries: int = 0
    problem: str = ""
    decided_ms: int = 0
    buffer: list[Asked] = field(default_factory=list)
    starting: list[Asked] = field(default_factory=list)
    ending: list[Ending] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    backfills: list[Backfill] = field(default_factory=list)
    recent: list[Outcome] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As it is stored."""
        packed: bytes = msgpack.packb([_FORMAT, {name: getattr(self, name) for name in self.__slots__}])
        return packed

    @classmethod
    def decode(cls, data: bytes) -> ScheduleState:
        """Read what :meth:`encode` wrote.

        Raises:
            CorruptHistoryError: Another release wrote it in a form that this one does not know.
        """
        try:
            found, fields = msgpack.unpackb(data, raw=False, strict_map_key=False)
            if found != _FORMAT:
                raise ValueError(f"format {found}")
            for name, kind in _ROWS.items():
                fields[name] = [kind(*row) for row in fields[name]]
            return cls(**fields)
        except (KeyError, TypeError, ValueError, msgpack.exceptions.UnpackException) as error:
            raise CorruptHistoryError(f"the state of a schedule cannot be read by this release: {error}") from error

    @property
    def is_decided(self) -> bool:
        """Whether there is something that was decided and has to be carried out."""
        return bool(self.starting or self.ending)

    def waits(self, policy: SchedulePolicy) -> bool:
        """Whether the end of a run changes what happens next."""
        return bool(self.buffer) or (policy.pause_on_failure and bool(self.running))

    def count(self, what: str, times: int = 1) -> None:
        """Count something that happened."""
        if times:
            self.counts[what] = self.counts.get(what, 0) + times


_ROWS: Final[dict[str, Any]] = {
    "buffer": Asked, "starting": Asked, "ending": Ending, "running": Running, "backfills": Backfill, "recent": Outcome,
}  # fmt: skip
