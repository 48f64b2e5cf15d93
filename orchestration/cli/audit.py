"""``orchestration audit``: has every open run something that will move it?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import Application, load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import complete_workflows
from orchestration.cli.exits import Exit
from orchestration.cli.output import ago, note, print_json, show
from orchestration.cli.progress import counted
from orchestration.cli.session import session_of, shared_options

if TYPE_CHECKING:
    from orchestration.health.audit import RunAudit

__all__ = ["audit"]


@command(short_help="has every open run something that will move it?")
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=complete_workflows)
@click.option("--repair", is_flag=True, help="Put back what is lost and can be made again.")
@shared_options
@click.pass_context
def audit(context: click.Context, ids: tuple[str, ...], repair: bool) -> None:
    """Check that every open run has something that will move it, and each of its open commands something too.

    Without IDs every open run is looked at, and those with a fault are told; with IDs these runs, and what moves each.
    Each run is read at one moment, so runs may go on meanwhile. What the workers' sweep puts right by itself is told
    from what nobody does. --repair puts that back: timers, wake-ups, messages, code. It is safe while workers run and
    safe to repeat. Exit code 1 when faults are left.

    With --json one object for each run that is told, each on a line, then one with the numbers.

    \b
    Examples:
      orchestration audit
      orchestration audit --repair
      orchestration audit order-7

    \b
    Next:
      orchestration show order-7             where the run stands
    """
    session = session_of(context)
    application = load_application(session)
    counts = {"runs": 0, "faulty": 0, "mended": 0}
    for seen in _audits(application, ids, repair=repair):
        counts["runs"] += 1
        counts["faulty"] += bool(seen.faults)
        counts["mended"] += bool(seen.mended)
        if ids or seen.faults or seen.mended:
            if session.json:
                print_json(_plain(seen), pretty=False)
            else:
                _print(seen, with_wakes=bool(ids))
    if session.json:
        print_json(counts, pretty=False)
    else:
        note(_summary(counts, ids))
    if counts["faulty"]:
        context.exit(Exit.FAILED)


def _audits(application: Application, ids: tuple[str, ...], *, repair: bool) -> Iterator[RunAudit]:
    if ids:
        for workflow_id in ids:
            namespace = application.find(workflow_id).namespace
            yield from application.client(namespace).audit([workflow_id], repair=repair)
        return
    clients = [application.client(namespace) for namespace in application.namespaces()]
    total = sum(client.count_workflows()["open"] for client in clients)
    yield from counted((seen for client in clients for seen in client.audit(repair=repair)), total, "auditing")


def _summary(counts: dict[str, int], ids: tuple[str, ...]) -> str:
    runs = f"{counts['runs']} open run{'s'[: counts['runs'] != 1]}"
    if ids and not counts["runs"]:
        return "no open run: what has ended needs nothing that moves it"
    mended = f", {counts['mended']} mended" if counts["mended"] else ""
    if counts["faulty"]:
        return f"{runs}{mended}, {counts['faulty']} with faults"
    return f"{runs}{mended}: each has something that will move it" if counts["runs"] else "no open runs"


def _plain(seen: RunAudit) -> dict[str, Any]:
    return {
        "id": seen.workflow_id, "run_id": seen.run_id, "type": seen.type, "namespace": seen.namespace,
        "status": seen.status, "wakes": [dataclasses.asdict(wake) for wake in seen.wakes],
        "faults": [{**dataclasses.asdict(fault), "by": fault.by.value} for fault in seen.faults],
        "mended": list(seen.mended),
    }  # fmt: skip


def _print(seen: RunAudit, *, with_wakes: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(width=8, no_wrap=True)
    made.add_column(overflow="fold")
    for wake in seen.wakes if with_wakes else ():
        made.add_row("moved by", wake.source + (f", {ago(wake.due_ms)}" if wake.due_ms else ""))
    for done in seen.mended:
        made.add_row(Text("mended", "bold green"), done)
    for fault in seen.faults:
        is_late = fault.kind == "late"
        made.add_row(Text("late" if is_late else "fault", "bold yellow" if is_late else "bold red"), fault.message)
        made.add_row(Text("cure", "bold"), fault.cure.replace("ID", seen.workflow_id))
    show(Text(seen.workflow_id or seen.run_id, "bold") + Text(f"  {seen.type}  {seen.status}"))
    show(made)
