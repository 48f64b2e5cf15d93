"""``orchestration resume``: let paused runs go on."""

from __future__ import annotations

from typing import Any

import click

from orchestration.cli.bulk import act_on_runs, bulk_options
from orchestration.cli.commands import command
from orchestration.cli.session import shared_options

__all__ = ["resume"]


@command(short_help="let paused runs go on")
@bulk_options
@shared_options
@click.pass_context
def resume(context: click.Context, /, **chosen: Any) -> None:
    """Let paused runs go on with what has come in meanwhile.

    \b
    Examples:
      orchestration resume order-7
      orchestration resume --all --rate 10/s

    \b
    Next:
      orchestration show order-7             where it stands now
    """
    act_on_runs(
        context, lambda handle: handle.resume(), done="{id} goes on", would="{id} would go on",
        default_status="paused", **chosen,
    )  # fmt: skip
