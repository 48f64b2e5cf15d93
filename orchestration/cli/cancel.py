"""``orchestration cancel``: ask a run to end."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.output import print_json
from orchestration.cli.session import session_of, shared_options

__all__ = ["cancel"]


@click.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--reason", "-r", default="", metavar="TEXT", help="Kept in the history.")
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@shared_options
@click.pass_context
def cancel(context: click.Context, workflow_id: str, reason: str, run_id: str | None) -> None:
    """Ask a run to end: its code is told and decides, so it can undo what it did.

    \b
    Example:
      orchestration cancel order-7 --reason "the customer has called"
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    handle.cancel(reason)
    if session.json:
        print_json({"id": handle.id, "run_id": handle.run_id, "status": handle.describe().status})
    else:
        print(f"{handle.id} was asked to end")
