"""``orchestration list``: the runs there are."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import Application, load_application
from orchestration.cli.bulk import STATUSES
from orchestration.cli.output import ago, print_json, show, status_text, table
from orchestration.cli.session import session_of, shared_options

if TYPE_CHECKING:
    from orchestration.client import Description

__all__ = ["list_runs"]


@click.command("list")
@click.option("--status", "-s", type=click.Choice(STATUSES), help="Only these; open and closed are groups.")
@click.option("--type", "-t", "entry", metavar="ENTRY", help="Only runs of this entry.")
@click.option("--limit", "-l", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most runs shown.")
@shared_options
@click.pass_context
def list_runs(context: click.Context, status: str | None, entry: str | None, limit: int) -> None:
    """List runs, the latest first. With --json one object on each line.

    \b
    Examples:
      orchestration list --status parked
      orchestration list --type app.workflows:approval --json | jq -r .workflow_id
    """
    session = session_of(context)
    application = load_application(session)
    found = _collect(application, status=status, type=entry, limit=limit)
    if session.json:
        for item in found:
            print_json(_facts(item), pretty=False)
        return
    if not found:
        print(_nothing(application, is_filtered=bool(status or entry)))
        return
    several = len({item.namespace for item in found}) > 1
    columns = ["id", "type", "status", "stands at", "waits for", "started", "events"]
    made = table(*columns, *(["namespace"] if several else []), fold="id")
    for item in found:
        where, waits_for = _stand(item)
        row = [item.workflow_id, item.type, status_text(item.status), where, waits_for, ago(item.started_ms)]
        made.add_row(*row, str(item.history_length), *([item.namespace] if several else []))
    show(made)
    if status == "parked":
        print(_parked(application))
    if len(found) == limit:
        print(f"the latest {limit}; --limit shows more")


def _collect(application: Application, **filters: Any) -> list[Description]:
    found: list[Description] = []
    for namespace in application.namespaces():
        found += application.client(namespace).list_workflows(**filters)
    found.sort(key=lambda item: (-item.started_ms, item.workflow_id))
    return found[: filters["limit"]]


def _facts(item: Description) -> dict[str, Any]:
    facts = dataclasses.asdict(item)
    del facts["pending"]  # is not read for lists
    return facts


def _stand(item: Description) -> tuple[str, str]:
    """Where its main coroutine stands and what for, and how many others there are."""
    if item.parked:
        return "", item.parked
    if not item.places:
        return "", ""
    place = item.places[0]
    more = f" (+{len(item.places) - 1})" if len(item.places) > 1 else ""
    return f"{PurePosixPath(place.file).name}:{place.line}{more}", place.waits_for


def _parked(application: Application) -> str:
    """How many runs are parked, by the kind of what keeps them."""
    kinds: dict[str, int] = {}
    for namespace in application.namespaces():
        for kind, count in application.client(namespace).count_parked().items():
            kinds[kind] = kinds.get(kind, 0) + count
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{sum(kinds.values())} parked: {told}"


def _nothing(application: Application, *, is_filtered: bool) -> str:
    counts: dict[str, int] = {}
    for namespace in application.namespaces():
        for name, count in application.client(namespace).count_workflows().items():
            counts[name] = counts.get(name, 0) + count
    if is_filtered and any(counts.values()):
        return f"no run like that; there are {counts['open']} open and {counts['closed']} ended ones"
    entries = [entry.id for entry in application.orchestration.registry.entries if entry.kind == "workflow.lua"]
    if not entries:
        return "no runs yet, and no workflow to start: the definitions have no entry of kind workflow.lua"
    return f"no runs yet; start one with `orchestration start {entries[0]} --input JSON`"
