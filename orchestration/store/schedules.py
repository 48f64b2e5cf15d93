"""Schedules as they are stored: one hash for each, changed only by whoever has read its present version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.store.base import Aggregate, text
from orchestration.store.keys import ShardKeys

__all__ = ["DueSchedules", "Schedules", "StoredSchedule"]


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """A schedule as it was read.

    Attributes:
        id: Of the schedule.
        version: To be shown when it is changed.
        definition: What it is, encoded.
        state: Where it stands, encoded.
    """

    id: str
    version: int
    definition: bytes
    state: bytes


@dataclass(frozen=True, slots=True)
class DueSchedules:
    """What one look at a shard found.

    Attributes:
        time_ms: Redis' time.
        ids: Schedules that are due, held for a moment.
        next_ms: When the next one is; 0: none is.
    """

    time_ms: int
    ids: tuple[str, ...]
    next_ms: int


class Schedules(Aggregate):
    """The verbs of schedules."""

    @property
    def shards(self) -> tuple[ShardKeys, ...]:
        """The shards to look at."""
        return self._keyspace.all

    def take(self, shard: ShardKeys, *, limit: int, hold_ms: int) -> DueSchedules:
        """Find schedules that are due, and hold them for a moment so that others leave them alone.

        Args:
            shard: Where to look.
            limit: Most schedules.
            hold_ms: How long they are left alone, should the caller die.
        """
        _, time_ms, ids, next_ms = self._run("take_schedules", [shard.schedules_due], limit, hold_ms)
        return DueSchedules(int(time_ms), tuple(map(text, ids)), int(float(next_ms or 0)))

    def read(self, ids: Sequence[str]) -> list[StoredSchedule]:
        """Read schedules; unknown ones are left out."""
        names = ("version", "definition", "state")
        commands = [["HMGET", self._keyspace.of_workflow(id_).schedule(id_), *names] for id_ in ids]
        replies = self._connection.pipeline(commands) if commands else []
        return [
            StoredSchedule(id_, int(version), definition, state)
            for id_, (version, definition, state) in zip(ids, replies, strict=True)
            if version is not None
        ]

    def save(
        self, id: str, *, version: int, commit: str, definition: bytes, state: bytes,  # noqa: A002 - the word of the field
        look_ms: int | None, waits: bool,
    ) -> str:  # fmt: skip
        """Make or change a schedule, unless something else has changed it since it was read.

        Safe to repeat: the same commit is answered as the first time.

        Args:
            id: Of the schedule.
            version: As it was read; 0: there must be no such schedule yet.
            commit: Unique to this change.
            definition: What it is, encoded; empty: as it was.
            state: Where it stands, encoded.
            look_ms: Time of the next look; None: none.
            waits: The end of a run changes what happens next.

        Returns:
            ``saved``; ``changed``: something else was faster, nothing was written; ``exists`` or ``missing``.
        """
        keys = self._keyspace.of_workflow(id)
        reply = self._run(
            "save_schedule", [keys.schedule(id), keys.schedules, keys.schedules_due], id, version, commit, definition,
            state, "" if look_ms is None else look_ms, int(waits),
        )  # fmt: skip
        return text(reply[0])

    def nudge(self, id: str) -> str:  # noqa: A002 - the word of the field
        """Tell a schedule that a run of it has ended.

        Returns:
            ``nudged``, ``quiet`` when nothing waits for that, ``missing`` when there is no such schedule.
        """
        keys = self._keyspace.of_workflow(id)
        return text(self._run("nudge_schedule", [keys.schedule(id), keys.schedules_due], id)[0])

    def delete(self, id: str) -> bool:  # noqa: A002 - the word of the field
        """Forget a schedule.

        Returns:
            Whether there was one.
        """
        keys = self._keyspace.of_workflow(id)
        reply = self._run("delete_schedule", [keys.schedule(id), keys.schedules, keys.schedules_due], id)
        return text(reply[0]) == "deleted"

    def listing(self, *, prefix: str = "", after: str = "", limit: int = 100) -> list[str]:
        """Ids of schedules in the order of their bytes.

        Args:
            prefix: Only those that begin with it.
            after: Only those that come after it: the last one of the page before.
            limit: Most ids.
        """
        first, last = prefix.encode(), after.encode()
        low = b"(" + last if last >= first and last else (b"[" + first if first else b"-")
        high = b"(" + first + b"\xff" if first else b"+"  # no byte of UTF-8 is 0xff
        commands: list[list[Any]] = [
            ["ZRANGE", keys.schedules, low, high, "BYLEX", "LIMIT", 0, limit] for keys in self._keyspace.all
        ]
        found = [id_ for page in self._connection.pipeline(commands) for id_ in page]
        return [text(id_) for id_ in sorted(found)[:limit]]

    def count(self) -> int:
        """Number of schedules."""
        commands = [["ZCARD", keys.schedules] for keys in self._keyspace.all]
        return sum(int(number) for number in self._connection.pipeline(commands))
