"""What the doctor and the audit find: one thing each, with its cure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestration.health.facts import Facts

__all__ = ["PAGE", "Check", "Finding", "Note", "Severity"]

PAGE: Final = "docs/how-to/operate.md"
"""Where every check is described."""


class Severity(enum.Enum):
    """How much a finding matters."""

    OK = "ok"
    """It was looked at, and is as it should be."""
    NOTICE = "notice"
    """Worth knowing; or it could not be looked at."""
    WARNING = "warning"
    """It will hurt under circumstances that come."""
    ERROR = "error"
    """It hurts now: work waits for ever, is lost, or is done twice."""

    @property
    def rank(self) -> int:
        """Greater for what matters more."""
        return list(Severity).index(self)

    @property
    def is_finding(self) -> bool:
        """Whether somebody has to do something."""
        return self in (Severity.WARNING, Severity.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: Name of the check.
        severity: How much it matters.
        subject: What it is about: a queue, a worker, a run, a setting.
        message: What was found.
        cure: What to do; empty when nothing has to be done.
        anchor: Where the check is described.
        namespace: Whose runs were looked at.
    """

    check: str
    severity: Severity
    subject: str
    message: str
    cure: str
    anchor: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Note:
    """What a check says; :func:`orchestration.health.doctor.examine` makes a finding of it.

    Attributes:
        severity: How much it matters.
        subject: What it is about.
        message: What was found.
        cure: What to do.
    """

    severity: Severity
    subject: str
    message: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One look at the deployment.

    Attributes:
        name: As ``--only`` takes it.
        looks_at: What it looks at, for people.
        look: Looks; what it yields is found. When that is nothing, all is well.
        of_runs: It looks at the runs of one namespace, not at what all share.
    """

    name: str
    looks_at: str
    look: Callable[[Facts], Iterable[Note]]
    of_runs: bool = False

    @property
    def anchor(self) -> str:
        """Where it is described."""
        return f"{PAGE}#{self.name}"

    def finding(self, note: Note, namespace: str) -> Finding:
        """What it says, as a finding."""
        return Finding(
            check=self.name, severity=note.severity, subject=note.subject, message=note.message, cure=note.cure,
            anchor=self.anchor, namespace=namespace,
        )  # fmt: skip
