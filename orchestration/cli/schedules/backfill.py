"""``orchestration schedule backfill``."""

from __future__ import annotations

import datetime as dt

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import complete_schedules
from orchestration.cli.exits import CliError
from orchestration.cli.output import print_json, say
from orchestration.cli.schedules.options import OVERLAP, TIME, find_schedule
from orchestration.cli.session import session_of, shared_options

__all__ = ["backfill"]


@command(short_help="start it for a stretch of the past")
@click.argument("schedule_id", metavar="ID", shell_complete=complete_schedules)
@click.argument("start", metavar="FROM", type=TIME)
@click.argument("end", metavar="TO", type=TIME)
@click.option(
    "--overlap", type=OVERLAP, metavar="POLICY", default="buffer_all", show_default=True, help="For these times."
)
@shared_options
@click.pass_context
def backfill(context: click.Context, schedule_id: str, start: dt.datetime, end: dt.datetime, overlap: str) -> None:
    """Start it for every time between two moments of the past, one after the other; also while it is paused.

    FROM and TO are dates (their first moment in UTC) or times with a zone; both are included. Times that were started
    before are started again.

    \b
    Example:
      orchestration schedule backfill nightly 2026-03-01 2026-03-08
      orchestration schedule backfill nightly 2026-03-01 2026-03-02 --overlap skip

    \b
    Next:
      orchestration schedule show nightly    how many are still to come
    """
    session = session_of(context)
    handle = find_schedule(load_application(session), schedule_id)
    try:
        handle.backfill(start, end, overlap)
    except ValueError as error:
        raise CliError(str(error)) from error
    if session.json:
        print_json({"id": schedule_id, "done": "backfill", "from": start.isoformat(), "to": end.isoformat()})
    else:
        say(f"{schedule_id} is started for every time from {start.isoformat()} to {end.isoformat()}")
