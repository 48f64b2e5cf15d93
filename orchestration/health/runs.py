"""Checks of the open runs: those that nothing will move, those that wait for an operator, and what is late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from orchestration.core.durations import format_duration
from orchestration.health.audit import audit_runs
from orchestration.health.facts import Facts
from orchestration.health.findings import Note, Severity
from orchestration.health.judging import Mender

__all__ = ["backlog", "parked", "wake_sources"]

_MOST_SHOWN: Final = 20
_LATE_MS: Final = 30_000
_UNCLAIMED_MS: Final = 600_000


def wake_sources(facts: Facts) -> Iterator[Note]:
    """Every open run has something that will move it."""
    end = time.monotonic() + facts.timeout_s * 0.8
    looked_at = shown = more = late = 0
    for audit in audit_runs(facts.runtime, facts.namespace, unlisted=False):
        looked_at += 1
        faults = [fault for fault in audit.faults if fault.kind != "bundle"]
        late += any(fault.by is Mender.SWEEP for fault in faults)
        for fault in faults:
            if fault.by is Mender.SWEEP:
                continue
            if shown < _MOST_SHOWN:
                cure = fault.cure.replace("ID", audit.workflow_id)
                yield Note(Severity.ERROR, audit.workflow_id, fault.message, cure)
                shown += 1
            else:
                more += 1
        if time.monotonic() > end:
            yield Note(
                Severity.NOTICE, f"{looked_at} runs", "there was no time to look at the other open runs",
                "orchestration audit looks at all of them",
            )  # fmt: skip
            break
    if more:
        yield Note(Severity.ERROR, f"{more} more", "such faults", "orchestration audit lists them")
    if late:
        yield Note(
            Severity.WARNING, f"{late} runs", "what moves them is late: the workers' sweep has not looked after it",
            "see the check `workers`; orchestration audit lists the runs",
        )  # fmt: skip
    if not shown and not late:
        yield Note(Severity.OK, f"{looked_at} open runs", "each has something that will move it")


def parked(facts: Facts) -> Iterator[Note]:
    """Parked runs wait for an operator."""
    for kind, count in sorted(facts.store.runs.parked_kinds().items()):
        yield Note(
            Severity.WARNING, kind, f"{count} run{'s'[: count != 1]} parked",
            "orchestration list --status parked says why each is; mend the cause, then orchestration retry "
            "(docs/how-to/repair-runs.md)",
        )  # fmt: skip


def backlog(facts: Facts) -> Iterator[Note]:
    """Work that should have been done by now."""
    late_ms = max(_LATE_MS, 10 * facts.settings.sweep_interval_ms)
    found = facts.store.audits.backlog(late_ms=late_ms, unclaimed_ms=_UNCLAIMED_MS)
    late = {
        "outbox": (found.entries_late, "outbox entries (messages, starts of children, completed tasks)"),
        "ready": (found.runs_late, "runs with unread inputs"), "timers": (found.timers_late, "timers and deadlines"),
    }  # fmt: skip
    for subject, (count, what) in late.items():
        if count:
            yield Note(
                Severity.WARNING, subject, f"{count} {what} are late by more than {format_duration(late_ms)}",
                "see the check `workers`; the workers' logs say why an entry fails again and again",
            )  # fmt: skip
    if found.unmarked:
        yield Note(
            Severity.ERROR, "outbox", f"{len(found.unmarked)} entries that no worker will take up, such as "
            f"{found.unmarked[0]}",
            "orchestration audit --repair",
        )  # fmt: skip
    if found.attempts_late:
        yield Note(
            Severity.NOTICE, "activities", f"{found.attempts_late} attempts were sent more than "
            f"{format_duration(_UNCLAIMED_MS)} ago and are claimed by nobody",
            "look at the lengths of the queues, and at the check `queue-consumers`",
        )  # fmt: skip
