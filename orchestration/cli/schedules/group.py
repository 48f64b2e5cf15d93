"""The commands below ``orchestration schedule``."""

from __future__ import annotations

import click

from orchestration.cli.commands import Commands
from orchestration.cli.schedules.backfill import backfill
from orchestration.cli.schedules.changes import delete, pause, resume, trigger
from orchestration.cli.schedules.create import create
from orchestration.cli.schedules.listing import list_schedules
from orchestration.cli.schedules.show import show
from orchestration.cli.schedules.update import update
from orchestration.cli.session import shared_options

__all__ = ["schedule"]


@click.group(
    cls=Commands, short_help="start workflows again and again",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)  # fmt: skip
@shared_options
def schedule() -> None:
    """Start workflows again and again: by the calendar, or at an interval.

    Any worker fires them, each time once; there is no process to be kept alive for it.

    \b
    Example:
      orchestration schedule create nightly app.workflows:report \\
          --cron "0 2 * * *" --zone Europe/Berlin
      orchestration schedule show nightly
      orchestration schedule pause nightly --note "the warehouse is being moved"
    """


for _command in (create, list_schedules, show, pause, resume, trigger, backfill, update, delete):
    schedule.add_command(_command)
