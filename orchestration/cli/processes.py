"""``orchestration processes``: what lives where."""

from __future__ import annotations

import dataclasses

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.output import ago, note, print_json
from orchestration.cli.rows import show_rows
from orchestration.cli.session import session_of, shared_options

__all__ = ["processes"]


@command(short_help="the processes: address, names, worker")
@click.option("--host", metavar="ID", help="Only the processes of this host.")
@shared_options
@click.pass_context
def processes(context: click.Context, host: str | None) -> None:
    """List the processes: address, names, entry, where each runs, since when. With --json one object on each line.

    Functions that run, and addresses of Python code, are there when they have told somebody their address. Those of a
    worker that has died are listed for some seconds.

    \b
    Example:
      orchestration processes --host app:processes

    \b
    Next:
      orchestration send NAME TOPIC          speak to one
    """
    session = session_of(context)
    found = load_application(session).client().list_processes(host=host)
    if session.json:
        for process in found:
            print_json(dataclasses.asdict(process), pretty=False)
        return
    if not found:
        note("no processes")
        return
    rows = []
    for process in found:
        where = f"{process.machine}:{process.os_pid}"
        names, entry = ", ".join(process.names), process.entry_id or "(Python)"
        rows.append([process.pid, names, entry, where, ago(process.since_ms)])
    show_rows(["pid", "names", "entry", "worker", "since"], rows, below=("names", "entry"))
