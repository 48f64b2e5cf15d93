"""``orchestration show``: where a run stands, read from the store alone."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.outcomes import failure_facts, failure_line
from orchestration.cli.output import ago, print_json, size, status_text, table, when
from orchestration.cli.output import show as show_text
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import as_json
from orchestration.errors import ApplicationError

if TYPE_CHECKING:
    from orchestration.client import Description, WorkflowHandle

__all__ = ["show"]


@click.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@shared_options
@click.pass_context
def show(context: click.Context, workflow_id: str, run_id: str | None) -> None:
    """Show where a run stands: each coroutine's file and line, what it waits for, since when.

    Everything is read from Redis; no worker needs to be up.

    \b
    Example:
      orchestration show order-7
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    seen = handle.describe()
    outcome = _outcome(handle) if seen.closed_ms else {}
    if session.json:
        facts = {"failure": failure_facts(outcome["failure"])} if "failure" in outcome else outcome
        print_json({**dataclasses.asdict(seen), **facts})
    else:
        _print(seen, outcome)


def _outcome(handle: WorkflowHandle) -> dict[str, Any]:
    try:
        return {"result": handle.result(timeout=0)}
    except ApplicationError as error:
        return {"failure": error}


def _print(seen: Description, outcome: dict[str, Any]) -> None:
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
    if "result" in outcome:
        facts.add_row("result", as_json(outcome["result"]))
    if "failure" in outcome:
        facts.add_row("failure", Text(failure_line(outcome["failure"]), "red"))
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
    facts.add_row("queue", f"{seen.task_queue or 'default'} (namespace {seen.namespace})")
    facts.add_row("code", f"sha256 {seen.bundle[:16]}")
    for name, values in (("search", seen.search), ("memo", seen.memo)):
        if values:
            facts.add_row(name, as_json(values))
    if seen.counters:
        facts.add_row("counters", ", ".join(f"{name} {count}" for name, count in sorted(seen.counters.items())))
    show_text(facts)
    _print_places(seen)
    _print_pending(seen)


def _print_places(seen: Description) -> None:
    if not seen.places:
        if not seen.closed_ms:
            print(f"\n{_why_nowhere(seen)}")
        return
    print("\nstands at")
    made = table("#", "where", "function", "waits for", "since", fold="where")
    for place in seen.places:
        where = f"{place.file}:{place.line}" if place.line else "(not begun)"
        made.add_row(str(place.task), where, place.function, place.waits_for or "(runs)", when(place.since_ms))
    show_text(made)


def _why_nowhere(seen: Description) -> str:
    if seen.history_length:
        return "it is being advanced"
    return f"it begins {ago(seen.starts_ms)}" if seen.starts_ms > time.time() * 1000 else "no worker has taken it yet"


def _print_pending(seen: Description) -> None:
    if not seen.pending:
        return
    print("\npending activities")
    made = table("#", "activity", "attempt", "state", "since", "last failure", fold="last failure")
    for activity in seen.pending:
        failure = activity.last_failure or {}
        told = ": ".join(str(failure[name]) for name in ("kind", "message") if failure.get(name))
        owner = f" by {activity.owner}" if activity.owner else ""
        since = when(activity.since_ms)
        made.add_row(str(activity.seq), activity.target, str(activity.attempt), f"{activity.state}{owner}", since, told)
    show_text(made)
