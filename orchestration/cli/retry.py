"""``orchestration retry``: let parked runs try again."""

from __future__ import annotations

from typing import Any

import click

from orchestration.cli.bulk import act_on_runs, bulk_options
from orchestration.cli.commands import command
from orchestration.cli.session import shared_options

__all__ = ["retry"]


@command(short_help="let parked runs try again")
@bulk_options
@shared_options
@click.pass_context
def retry(context: click.Context, /, **chosen: Any) -> None:
    """Let parked runs try again, when the cause that `show` names is mended.

    A run is parked when its code leaves its limits or no longer agrees with its history; nothing of the step in
    question has been kept.

    \b
    Examples:
      orchestration list --status parked
      orchestration retry order-7
      orchestration retry --all --type app.workflows:order_processor --rate 10/s

    \b
    Next:
      orchestration list --status parked     whether any is left
    """
    act_on_runs(
        context, lambda handle: handle.retry(), done="{id} tries again as soon as a worker takes it",
        would="{id} would try again", default_status="parked", **chosen,
    )  # fmt: skip
