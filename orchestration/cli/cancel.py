"""``orchestration cancel``: ask runs to end."""

from __future__ import annotations

from typing import Any

import click

from orchestration.cli.bulk import act_on_runs, bulk_options
from orchestration.cli.commands import command
from orchestration.cli.session import shared_options

__all__ = ["cancel"]


@command(short_help="ask runs to end; their code decides how")
@bulk_options
@click.option("--reason", "-r", default="", metavar="TEXT", help="Kept in the history.")
@shared_options
@click.pass_context
def cancel(context: click.Context, /, reason: str, **chosen: Any) -> None:
    """Ask runs to end: their code is told and decides, so it can undo what it did.

    \b
    Examples:
      orchestration cancel order-7 --reason "the customer has called"
      orchestration cancel --all --type app.workflows:approval --rate 100/m

    \b
    Next:
      orchestration show order-7             whether it has ended
      orchestration terminate order-7        when it does not
    """
    act_on_runs(
        context, lambda handle: handle.cancel(reason), done="{id} was asked to end",
        would="{id} would be asked to end", default_status="", **chosen,
    )  # fmt: skip
