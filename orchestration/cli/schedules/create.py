"""``orchestration schedule create``."""

from __future__ import annotations

from typing import Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import complete_entries
from orchestration.cli.exits import CliError
from orchestration.cli.output import print_json, say
from orchestration.cli.schedules.options import action_of, definition_options, policy_of, spec_of
from orchestration.cli.schedules.texts import facts, next_text
from orchestration.cli.session import session_of, shared_options

__all__ = ["create"]


@command(short_help="make a schedule")
@click.argument("schedule_id", metavar="ID")
@click.argument("entry", metavar="ENTRY", shell_complete=complete_entries)
@definition_options
@click.option("--paused", is_flag=True, help="Start nothing before it is resumed.")
@click.option("--note", default="", metavar="TEXT", help="Why it is there, or why it is paused.")
@shared_options
@click.pass_context
def create(context: click.Context, /, schedule_id: str, entry: str, paused: bool, note: str, **given: Any) -> None:
    """Make a schedule that starts the workflow ENTRY.

    The workflow finds the time that it was started for in its context: ctx.get("schedule.time").

    \b
    Examples:
      orchestration schedule create nightly app.workflows:report \\
          --cron "0 2 * * *" --zone Europe/Berlin
      orchestration schedule create poll app.workflows:poll --every 30s
      orchestration schedule create once app.workflows:report \\
          --cron "0 9 1 3 *" --max-actions 1

    \b
    Next:
      orchestration schedule show nightly    its next times
      orchestration schedule trigger nightly start it once, now
    """
    session = session_of(context)
    spec, action, policy = spec_of(None, given), action_of(None, entry, given), policy_of(None, given)
    assert spec is not None
    assert action is not None
    client = load_application(session).client()
    try:
        handle = client.create_schedule(
            schedule_id, spec=spec, action=action, policy=policy, paused=paused, note=note
        )
    except ValueError as error:
        raise CliError(str(error).replace("`workflow_id_prefix`", "--id-prefix")) from error
    seen = handle.describe()
    if session.json:
        print_json(facts(seen))
    else:
        say(f"made {schedule_id}: {next_text(seen)}")
