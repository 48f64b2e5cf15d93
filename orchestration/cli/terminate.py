"""``orchestration terminate``: end runs at once."""

from __future__ import annotations

from typing import Any

import click

from orchestration.cli.bulk import act_on_runs, bulk_options
from orchestration.cli.commands import command
from orchestration.cli.session import shared_options

__all__ = ["terminate"]


@command(short_help="end runs at once, without asking")
@bulk_options
@click.option("--reason", "-r", default="", metavar="TEXT", help="Kept in the history.")
@shared_options
@click.pass_context
def terminate(context: click.Context, /, reason: str, **chosen: Any) -> None:
    """End runs at once: none of their code runs any more, compensations included.

    \b
    Examples:
      orchestration terminate order-7 --reason "the customer has called"
      orchestration terminate --all --type app.workflows:approval --dry-run

    \b
    Next:
      orchestration history order-7          how far it had come
    """
    act_on_runs(
        context, lambda handle: handle.terminate(reason), done="{id} has been terminated",
        would="{id} would be terminated", default_status="", **chosen,
    )  # fmt: skip
