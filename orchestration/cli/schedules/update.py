"""``orchestration schedule update``."""

from __future__ import annotations

from typing import Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import complete_schedules
from orchestration.cli.exits import CliError
from orchestration.cli.output import print_json, say
from orchestration.cli.schedules.options import action_of, definition_options, find_schedule, policy_of, spec_of
from orchestration.cli.schedules.texts import facts, next_text
from orchestration.cli.session import session_of, shared_options

__all__ = ["update"]


@command(short_help="change what is named of a schedule")
@click.argument("schedule_id", metavar="ID", shell_complete=complete_schedules)
@click.option("--entry", metavar="ENTRY", help="Start another workflow.")
@definition_options
@shared_options
@click.pass_context
def update(context: click.Context, /, schedule_id: str, entry: str | None, **given: Any) -> None:
    """Change what a schedule is, from now on; what is not named stays as it is.

    --cron and --every replace all the old times; --input replaces all the arguments. When the times change,
    --max-actions counts from zero again. Runs that are open are left alone.

    \b
    Examples:
      orchestration schedule update nightly --cron "0 3 * * *"
      orchestration schedule update nightly \\
          --overlap buffer_one --catchup-window 6h

    \b
    Next:
      orchestration schedule show nightly    what it is now
    """
    session = session_of(context)
    handle = find_schedule(load_application(session), schedule_id)
    before = handle.describe()
    spec, policy = spec_of(before.spec, given), policy_of(before.policy, given)
    action = action_of(before.action, entry, given)
    if spec is None and action is None and policy is None:
        raise CliError("nothing is to be changed: name an option such as --cron, --input or --overlap")
    try:
        handle.update(spec=spec, action=action, policy=policy)
    except ValueError as error:
        raise CliError(str(error)) from error
    seen = handle.describe()
    if session.json:
        print_json(facts(seen))
    else:
        say(f"changed {schedule_id}: {next_text(seen)}")
