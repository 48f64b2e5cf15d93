"""``orchestration check --against-running``: would the code of this checkout break runs that there are?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestration.cli.application import Application
from orchestration.cli.progress import counted

if TYPE_CHECKING:
    from orchestration.client import Move

__all__ = ["Findings", "find_breaks"]

_MOST_NAMED = 5


@dataclass(slots=True)
class _Group:
    """Runs that break in the same way.

    Attributes:
        first: One of them.
        count: How many there are.
        ids: Workflow ids of the first ones.
    """

    first: Move
    count: int = 0
    ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Findings:
    """What was found, in a size that does not grow with the number of runs.

    Attributes:
        looked_at: Open runs.
        same: Of them, those that are on this code.
        fits: Those whose history the code fits.
        differing: Of these, those with other arguments.
        gone: Those whose entry is not here.
        groups: Those that would break, by entry and place.
    """

    looked_at: int = 0
    same: int = 0
    fits: int = 0
    differing: int = 0
    gone: int = 0
    groups: dict[tuple[str, str, str], _Group] = field(default_factory=dict)

    @property
    def breaks(self) -> int:
        """How many would break."""
        return sum(group.count for group in self.groups.values())

    def add(self, move: Move) -> None:
        """Take in a run."""
        self.looked_at += 1
        name = move.fit.value
        if name != "breaks":
            setattr(self, name, getattr(self, name) + 1)
            self.differing += bool(move.warnings)
            return
        # Without a line the code ended or waited too early: what the history has there tells one place from another.
        key = (move.type, move.line or move.reason.partition(": the history")[0], move.expected)
        group = self.groups.setdefault(key, _Group(move))
        group.count += 1
        if len(group.ids) < _MOST_NAMED:
            group.ids.append(move.workflow_id)

    def lines(self) -> Iterator[str]:
        """For people: a line in all, and one for each group when there are several."""
        runs = f"{self.breaks} of {self.looked_at} running run{'s'[: self.looked_at != 1]} would break"
        if len(self.groups) == 1:
            (group,) = self.groups.values()
            yield f"{runs}, {_place(group)}"
        elif self.groups:
            yield f"{runs}:"
            for group in sorted(self.groups.values(), key=lambda item: (item.first.type, -item.count, item.ids)):
                yield f"  {group.count} of {group.first.type}, {_place(group)}"

    def summary(self) -> str:
        """What there is to say when nothing breaks."""
        runs = f"{self.looked_at} running run{'s'[: self.looked_at != 1]}"
        parts = [f"{self.same} on this code", f"{self.fits} that it fits"]
        if self.differing:
            parts.append(f"{self.differing} of them with other arguments")
        if self.gone:
            parts.append(f"{self.gone} whose entry is not here")
        return f"{runs}: {', '.join(parts)}"

    def facts(self) -> dict[str, Any]:
        """For programs."""
        return {
            "looked_at": self.looked_at, "same": self.same, "fits": self.fits, "differing": self.differing,
            "gone": self.gone, "breaks": self.breaks,
            "groups": [
                {
                    "type": group.first.type, "line": group.first.line, "event_number": group.first.event_number,
                    "expected": group.first.expected, "actual": group.first.actual, "reason": group.first.reason,
                    "count": group.count, "ids": group.ids,
                }
                for group in self.groups.values()
            ],
        }  # fmt: skip


def find_breaks(application: Application, *, entry: str | None = None) -> Findings:
    """Replay the history of every open run against the code of the application; nothing is written.

    Args:
        application: Has the code.
        entry: Only runs of this entry.
    """
    findings = Findings()
    clients = [application.client(namespace) for namespace in application.namespaces()]
    total = sum(client.count_workflows()["open"] for client in clients)
    moves = (move for client in clients for move in client.check_running(type=entry))
    for move in counted(moves, total, "replaying"):
        findings.add(move)
    return findings


def _place(group: _Group) -> str:
    move = group.first
    names = ", ".join(group.ids) + (", ..." if group.count > len(group.ids) else "")
    if not move.event_number:
        return f"{move.reason} ({names})"
    file, _, line = move.line.rpartition(":")
    at = f"at {file} line {line}" if file else f"at event {move.event_number}"
    return f"{at}: the history says {move.expected}, the code asks for {move.actual} ({names})"
