"""``orchestration list``: the runs there are."""

from __future__ import annotations

import dataclasses
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import Application, load_application
from orchestration.cli.commands import command
from orchestration.cli.exits import CliError
from orchestration.cli.filters import filter_options, filters_of
from orchestration.cli.output import ago, note, print_json, say, status_text
from orchestration.cli.rows import show_rows
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import as_json

if TYPE_CHECKING:
    from orchestration.client import Description
    from orchestration.client.listing import Filters

__all__ = ["list_runs"]


@command("list", short_help="the runs, the latest first")
@filter_options
@click.option("--limit", "-l", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most runs shown.")
@click.option("--all", "is_all", is_flag=True, help="Every run, however many there are.")
@click.option("--cursor", metavar="CURSOR", default="", help="Go on where the list before ended.")
@shared_options
@click.pass_context
def list_runs(context: click.Context, /, limit: int, is_all: bool, cursor: str, **given: Any) -> None:
    """List runs, the latest first. With --json one object on each line.

    Conditions of --where are combined by `and`. They name status, type, id, started, closed, or a search attribute.

    \b
    Examples:
      orchestration list --status parked
      orchestration list --where 'status = "failed" and amount > 100'
      orchestration list --type app.workflows:approval --json | jq -r .workflow_id

    \b
    Next:
      orchestration show ID                  where one of them stands
    """
    session = session_of(context)
    application = load_application(session)
    status = given["status"]
    where, filters = filters_of(given)
    found, cursor = _collect(application, where, filters, limit=None if is_all else limit, cursor=cursor)
    if session.json:
        for item in found:
            print_json(_facts(item), pretty=False)
        if cursor:
            note(as_json({"cursor": cursor}))
        return
    if not found:
        say(_nothing(application, is_filtered=bool(where or filters)))
        return
    several = len({item.namespace for item in found}) > 1
    rows = []
    for item in found:
        stands_at, waits_for = _stand(item)
        row = [item.workflow_id, item.type, status_text(item.status), stands_at, waits_for, ago(item.started_ms)]
        rows.append([*row, str(item.history_length), item.namespace if several else ""])
    columns = ["id", "type", "status", "stands at", "waits for", "started", "events", "namespace"]
    show_rows(columns, rows, below=("type", "namespace", "stands at", "waits for"))
    if status == "parked":
        say(_parked(application))
    if cursor:
        say(f"the latest {len(found)}; --cursor {cursor} goes on, --limit and --all show more")


def _collect(
    application: Application, where: Any, filters: Filters, *, limit: int | None, cursor: str
) -> tuple[list[Description], str]:
    """So many runs of all namespaces, the latest first, and where the next ones begin."""
    from orchestration.client.listing import merge_pages

    clients = [application.client(namespace) for namespace in application.namespaces()]
    found: list[Description] = []
    while True:
        size = 200 if limit is None else min(limit - len(found), 200)
        try:
            pages = [client.list_workflows(where, page_size=size, cursor=cursor, **filters) for client in clients]
        except ValueError as error:
            raise CliError(str(error)) from error
        page = merge_pages(pages, size)
        found += page
        cursor = page.cursor
        if not cursor or len(found) == limit:
            return found, cursor


def _facts(item: Description) -> dict[str, Any]:
    facts = dataclasses.asdict(item)
    del facts["pending"], facts["memo"]  # are not read for lists
    return facts


def _stand(item: Description) -> tuple[str, str]:
    """Where its main coroutine stands and what for, and how many others there are."""
    if item.parked:
        return "", item.parked
    if not item.places:
        return "", f"its start, {ago(item.starts_ms)}" if item.starts_ms > time.time() * 1000 else ""
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
    return f"no runs yet; start one with `{application.advice(f'start {entries[0]} --input JSON')}`"
