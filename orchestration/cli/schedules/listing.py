"""``orchestration schedule list``."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.output import ago, print_json, say
from orchestration.cli.rows import show_rows
from orchestration.cli.schedules.texts import facts, rules_text, state_text
from orchestration.cli.session import session_of, shared_options

__all__ = ["list_schedules"]


@command("list", short_help="the schedules")
@click.option("--prefix", default="", metavar="TEXT", help="Only those whose id begins with it.")
@click.option("--after", default="", metavar="ID", help="Only those behind this id: the last one of the page before.")
@click.option("--limit", "-l", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most shown.")
@shared_options
@click.pass_context
def list_schedules(context: click.Context, prefix: str, after: str, limit: int) -> None:
    """List schedules in the order of their ids. With --json one object on each line.

    \b
    Example:
      orchestration schedule list --prefix reports/

    \b
    Next:
      orchestration schedule show ID         one of them, and its last runs
    """
    session = session_of(context)
    application = load_application(session)
    found = [
        seen
        for namespace in application.namespaces()
        for seen in application.client(namespace).list_schedules(prefix=prefix, after=after, limit=limit)
    ]
    found.sort(key=lambda seen: seen.id.encode())
    if session.json:
        for seen in found[:limit]:
            print_json(facts(seen), pretty=False)
        return
    if not found:
        say("no schedules; `orchestration schedule create --help` shows how one is made")
        return
    rows = []
    for seen in found[:limit]:
        last = seen.recent[0] if seen.recent else None
        rows.append([
            seen.id, seen.action.workflow_type, rules_text(seen), state_text(seen),
            ago(seen.next_times[0].due_ms) if seen.next_times else "", str(len(seen.running)),
            f"{last.status} {ago(last.at_ms)}" if last else "",
        ])  # fmt: skip
    columns = ["id", "workflow", "times", "state", "next", "running", "last"]
    show_rows(columns, rows, below=("workflow", "times", "last"))
    if len(found) >= limit:
        say(f"the first {limit}; --after {found[limit - 1].id} shows more")
