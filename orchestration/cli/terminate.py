"""``orchestration terminate``: end a run at once."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.output import print_json
from orchestration.cli.session import session_of, shared_options

__all__ = ["terminate"]


@click.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--reason", "-r", default="", metavar="TEXT", help="Kept in the history.")
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@shared_options
@click.pass_context
def terminate(context: click.Context, workflow_id: str, reason: str, run_id: str | None) -> None:
    """End a run at once: none of its code runs any more, compensations included.

    \b
    Example:
      orchestration terminate order-7 --reason "the customer has called"
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    handle.terminate(reason)
    if session.json:
        print_json({"id": handle.id, "run_id": handle.run_id, "status": handle.describe().status})
    else:
        print(f"{handle.id} has been terminated")
