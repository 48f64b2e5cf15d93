"""``orchestration count``: how many runs there are."""

from __future__ import annotations

from typing import Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.filters import filter_options, filters_of
from orchestration.cli.output import print_json, show, table
from orchestration.cli.session import session_of, shared_options

__all__ = ["count"]


@command(short_help="how many runs there are")
@filter_options
@click.option("--by", type=click.Choice(["status", "type"]), help="A number for each status or entry that there is.")
@shared_options
@click.pass_context
def count(context: click.Context, /, by: str | None, **given: Any) -> None:
    """Count the runs that are kept: in all, or by status or entry.

    \b
    Examples:
      orchestration count --status failed --started-after 24h
      orchestration count --by type --where 'region in ("eu", "us")'

    \b
    Next:
      orchestration list --status failed     which ones
    """
    session = session_of(context)
    application = load_application(session)
    where, filters = filters_of(given)
    counts: dict[str, int] = {}
    for namespace in application.namespaces():
        found = application.client(namespace).count_workflows(where, by=by or "group", **filters)
        for name, number in found.items():
            counts[name] = counts.get(name, 0) + number
    if by is None:
        total = counts["open"] + counts["closed"]
        if session.json:
            print_json({"total": total, **counts})
        else:
            print(total)
        return
    if session.json:
        print_json(counts)
        return
    made = table(by, "runs")
    for name, number in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        made.add_row(name, str(number))
    show(made)
