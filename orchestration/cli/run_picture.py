"""A run as `show` shows it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orchestration.cli.outcomes import failure_line
from orchestration.cli.output import ago, size, status_text, when
from orchestration.cli.rows import make_rows
from orchestration.cli.values import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from orchestration.client import Description
    from orchestration.errors import ApplicationError

__all__ = ["run_picture"]

_UNTAKEN = "no worker has taken it yet; `orchestration doctor` says whether one is up, and which queues are read"


def run_picture(
    seen: Description, *, result: tuple[Any] | None = None, failure: ApplicationError | None = None
) -> RenderableType:
    """Everything that there is to say of a run.

    Args:
        seen: Where it stands.
        result: Its result, if it has one, as the only element.
        failure: Why it has none.
    """
    from rich.console import Group

    return Group(_facts(seen, result, failure), *_places(seen), *_pending(seen))


def _facts(seen: Description, result: tuple[Any] | None, failure: ApplicationError | None) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("workflow", seen.workflow_id)
    facts.add_row("status", status_text(seen.status))
    facts.add_row("type", seen.type)
    facts.add_row("run", seen.run_id)
    for name, origin in (("reset of", seen.reset_of), ("forked from", seen.forked_from)):
        if origin:
            facts.add_row(name, "run {} at event {}".format(*origin.split("/")))
    if seen.next_run_id:
        facts.add_row("goes on as", f"run {seen.next_run_id}")
    if seen.attempt > 1:
        facts.add_row("attempt", str(seen.attempt))
    facts.add_row("started", when(seen.started_ms))
    for name, time_ms in (("begins", seen.starts_ms), ("ends by", seen.deadline_ms if not seen.closed_ms else 0)):
        if time_ms:
            facts.add_row(name, when(time_ms))
    for name, text in (("cron", seen.cron), ("summary", seen.summary), ("details", seen.details)):
        if text:
            facts.add_row(name, Text(text))
    if seen.closed_ms:
        facts.add_row("ended", when(seen.closed_ms))
    if result is not None:
        facts.add_row("result", as_json(result[0]))
    if failure is not None:
        facts.add_row("failure", Text(failure_line(failure), "red"))
    if seen.parked:
        cure = f"mend the cause, then `orchestration retry {seen.workflow_id}`"
        facts.add_row("parked", Text(f"{seen.parked} ({cure})", "yellow"))
    if seen.status == "paused":
        told = f"{seen.paused} " if seen.paused else ""
        facts.add_row("paused", Text(f"{told}(`orchestration resume {seen.workflow_id}` lets it go on)", "blue"))
    unread = f", {seen.unread} input{'s'[: seen.unread != 1]} not taken yet" if seen.unread else ""
    facts.add_row("history", f"{seen.history_length} events, {size(seen.history_bytes)}{unread}")
    for warning in seen.warnings:
        facts.add_row("near", Text(warning, "yellow"))
    facts.add_row("queue", f"{seen.task_queue or 'the default one of the application'} (namespace {seen.namespace})")
    facts.add_row("code", f"sha256 {seen.bundle[:16]}")
    for name, values in (("search", seen.search), ("memo", seen.memo)):
        if values:
            facts.add_row(name, as_json(values))
    if seen.counters:
        facts.add_row("counters", ", ".join(f"{name} {count}" for name, count in sorted(seen.counters.items())))
    return facts


def _places(seen: Description) -> Iterator[RenderableType]:
    if not seen.places:
        if seen.status == "running":
            yield f"\n{_why_nowhere(seen)}"
        return
    yield "\nstands at"
    rows = []
    for place in seen.places:
        where = f"{place.file}:{place.line}" if place.line else "(not begun)"
        rows.append([str(place.task), where, place.function, place.waits_for or "(runs)", ago(place.since_ms)])
    yield make_rows(["#", "where", "function", "waits for", "since"], rows, below=("function", "waits for"))


def _why_nowhere(seen: Description) -> str:
    if seen.history_length:
        return "it is being advanced"
    return f"it begins {ago(seen.starts_ms)}" if seen.starts_ms > time.time() * 1000 else _UNTAKEN


def _pending(seen: Description) -> Iterator[RenderableType]:
    if not seen.pending:
        return
    yield "\npending activities"
    rows = []
    for activity in seen.pending:
        failure = activity.last_failure or {}
        told = ": ".join(str(failure[name]) for name in ("kind", "message") if failure.get(name))
        owner = f" by {activity.owner}" if activity.owner else ""
        since = ago(activity.since_ms) if activity.since_ms else ""
        state = f"{activity.state}{owner}"
        rows.append([str(activity.seq), activity.target, str(activity.attempt), state, since, told])
    yield make_rows(["#", "activity", "attempt", "state", "since", "last failure"], rows, below=("last failure",))
