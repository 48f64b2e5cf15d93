"""Processes that hold something: heard of now and then, and missed when they are silent."""

from __future__ import annotations

from orchestration.store.base import Aggregate, text
from orchestration.types import RunId

__all__ = ["Workers"]


class Workers(Aggregate):
    """The verbs of worker processes."""

    def beat(self, owner: str) -> None:
        """Say that a process is alive."""
        self._run("beat_worker", [self._keyspace.workers], owner)

    def leave(self, owner: str, *, silent_ms: int = 0) -> None:
        """Forget a process: it has gone with nothing in its hands, or what it had has been given to others.

        Args:
            owner: The process.
            silent_ms: Only when it has been silent for so long; one that has been heard of again may hold claims again.
        """
        self._run("leave_worker", [self._keyspace.workers], owner, silent_ms)

    def ages(self) -> dict[str, int]:
        """Milliseconds since each known process was last heard of."""
        reply = self._run("worker_ages", [self._keyspace.workers])
        return {text(owner): int(age) for owner, age in zip(reply[::2], reply[1::2], strict=True)}

    def claims(self, owner: str) -> list[tuple[RunId, int]]:
        """Run and number of each activity attempt that a process has claimed."""
        commands = [["SMEMBERS", keys.claims(owner)] for keys in self._keyspace.all]
        found = []
        for members in self._connection.pipeline(commands):
            for member in members:
                run_id, _, seq = text(member).partition("/")
                found.append((RunId(run_id), int(seq)))
        return sorted(found)

    def take_turn(self, owner: str, *, turn_ms: int) -> bool:
        """Become, or stay, the one worker that sweeps."""
        reply = self._run("take_turn", [self._keyspace.turn], owner, turn_ms)
        return text(reply[0]) == "mine"

    def is_swept(self) -> bool:
        """Whether some worker has the turn to sweep, now or a moment ago."""
        return bool(int(self._connection.call("EXISTS", self._keyspace.turn)))
