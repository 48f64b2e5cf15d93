"""``orchestration schedule pause``, ``resume``, ``trigger`` and ``delete``."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import complete_schedules
from orchestration.cli.output import print_json, say
from orchestration.cli.schedules.options import OVERLAP, find_schedule
from orchestration.cli.schedules.texts import next_text
from orchestration.cli.session import session_of, shared_options

__all__ = ["delete", "pause", "resume", "trigger"]


@command(short_help="start nothing more for now")
@click.argument("schedule_id", metavar="ID", shell_complete=complete_schedules)
@click.option("--note", default="", metavar="TEXT", help="Why; `show` and `list` tell it.")
@shared_options
@click.pass_context
def pause(context: click.Context, schedule_id: str, note: str) -> None:
    """Start nothing more until it is resumed. Open runs go on; what waits for them to end is given up.

    \b
    Example:
      orchestration schedule pause nightly --note "the warehouse is being moved"

    \b
    Next:
      orchestration schedule resume nightly  let it go on
    """
    session = session_of(context)
    find_schedule(load_application(session), schedule_id).pause(note)
    _done(context, schedule_id, f"{schedule_id} is paused")


@command(short_help="let it go on")
@click.argument("schedule_id", metavar="ID", shell_complete=complete_schedules)
@click.option("--note", default="", metavar="TEXT", help="Why; `show` tells it.")
@shared_options
@click.pass_context
def resume(context: click.Context, schedule_id: str, note: str) -> None:
    """Go on with the times that come from now on. `backfill` takes those of the pause.

    \b
    Example:
      orchestration schedule resume nightly

    \b
    Next:
      orchestration schedule show nightly    its next times
    """
    session = session_of(context)
    handle = find_schedule(load_application(session), schedule_id)
    handle.resume(note)
    _done(context, schedule_id, f"{schedule_id} goes on: {next_text(handle.describe())}")


@command(short_help="start it once, now")
@click.argument("schedule_id", metavar="ID", shell_complete=complete_schedules)
@click.option("--overlap", type=OVERLAP, metavar="POLICY", help="For this once. Default: the schedule's own.")
@shared_options
@click.pass_context
def trigger(context: click.Context, schedule_id: str, overlap: str | None) -> None:
    """Start it once, now; also while it is paused.

    \b
    Example:
      orchestration schedule trigger nightly --overlap allow_all

    \b
    Next:
      orchestration schedule show nightly    what became of it
    """
    session = session_of(context)
    find_schedule(load_application(session), schedule_id).trigger(overlap)
    said = f"{schedule_id} is started by the next worker that looks; `orchestration schedule show {schedule_id}` tells"
    _done(context, schedule_id, said)


@command(short_help="forget a schedule; its runs are left alone")
@click.argument("schedule_id", metavar="ID", shell_complete=complete_schedules)
@shared_options
@click.pass_context
def delete(context: click.Context, schedule_id: str) -> None:
    """Forget a schedule. Runs that it has started are left alone.

    \b
    Example:
      orchestration schedule delete nightly

    \b
    Next:
      orchestration list --id-prefix nightly the runs that it started
    """
    session = session_of(context)
    find_schedule(load_application(session), schedule_id).delete()
    _done(context, schedule_id, f"{schedule_id} is deleted")


def _done(context: click.Context, schedule_id: str, said: str) -> None:
    if session_of(context).json:
        print_json({"id": schedule_id, "done": context.info_name})
    else:
        say(said)
