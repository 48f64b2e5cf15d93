"""``orchestration schedule list``."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.output import ago, print_json, show, table
from orchestration.cli.schedules.texts import facts, rules_text, state_text
from orchestration.cli.session import session_of, shared_options

__all__ = ["list_schedules"]


@click.command("list")
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
        print("no schedules; `orchestration schedule create --help` shows how one is made")
        return
    made = table("id", "workflow", "times", "state", "next", "running", "last", fold="id")
    for seen in found[:limit]:
        last = seen.recent[0] if seen.recent else None
        made.add_row(
            seen.id, seen.action.workflow_type, rules_text(seen), state_text(seen),
            ago(seen.next_times[0].due_ms) if seen.next_times else "", str(len(seen.running)),
            f"{last.status} {ago(last.at_ms)}" if last else "",
        )  # fmt: skip
    show(made)
    if len(found) >= limit:
        print(f"the first {limit}; --after {found[limit - 1].id} shows more")
