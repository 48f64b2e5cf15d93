"""``orchestration retry``: let a parked run try again."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.output import print_json
from orchestration.cli.session import session_of, shared_options

__all__ = ["retry"]


@click.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@shared_options
@click.pass_context
def retry(context: click.Context, workflow_id: str, run_id: str | None) -> None:
    """Let a parked run try again, when the cause that `show` names is mended.

    A run is parked when its code leaves its limits or no longer agrees with its history; nothing of the step in
    question has been kept.

    \b
    Example:
      orchestration list --status parked
      orchestration retry order-7
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    handle.retry()
    if session.json:
        print_json({"id": handle.id, "run_id": handle.run_id, "status": handle.describe().status})
    else:
        print(f"{handle.id} tries again as soon as a worker takes it")
