"""``orchestration activity``: complete or fail an activity that waits for somebody outside."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import Commands
from orchestration.cli.exits import CliError
from orchestration.cli.output import print_json, say
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import JSON, SECONDS, Parsed
from orchestration.errors import ApplicationError

__all__ = ["activity"]


@click.group(cls=Commands, short_help="complete or fail an activity from outside")
@shared_options
def activity() -> None:
    """Complete or fail an activity whose body has left that to somebody else.

    TOKEN is what activity.token() gave to the body.

    \b
    Examples:
      orchestration activity complete "$TOKEN" '{"approved": true}'
      orchestration activity fail "$TOKEN" "they say no" --kind Declined
    """


@activity.command(short_help="give an activity its result")
@click.argument("token")
@click.argument("result", type=JSON, required=False, metavar="[JSON]")
@shared_options
@click.pass_context
def complete(context: click.Context, token: str, result: Parsed | None) -> None:
    """Give an activity its result; without JSON that is null. The same again changes nothing.

    \b
    Example:
      orchestration activity complete "$TOKEN" '{"approved": true}'

    \b
    Next:
      orchestration show ID                  where its workflow stands now
    """
    application = load_application(session_of(context))
    application.reach_store()
    application.client().complete_activity(token, result.value if result else None)
    _say(context, "completed")


@activity.command(short_help="report that an activity attempt has failed")
@click.argument("token")
@click.argument("message")
@click.option("--kind", default="", metavar="WORD", help="Of the error, as workflow code reads it.")
@click.option("--no-retry", is_flag=True, help="No further attempt, whatever the retry policy says.")
@click.option("--retry-after", type=SECONDS, metavar="TIME", help="Pause before the next attempt, as 30s.")
@click.option("--details", type=JSON, metavar="JSON", help="More facts: an object.")
@shared_options
@click.pass_context
def fail(
    context: click.Context, token: str, message: str, kind: str, no_retry: bool, retry_after: float | None,
    details: Parsed | None,
) -> None:  # fmt: skip
    """Report that an activity attempt has failed; its retry policy decides what follows.

    \b
    Example:
      orchestration activity fail "$TOKEN" "they say no" --kind Declined

    \b
    Next:
      orchestration show ID                  when it is tried again
    """
    if details is not None and not isinstance(details.value, dict):
        raise CliError("--details wants a JSON object")
    error = ApplicationError(
        message, kind, False if no_retry else None, details.value if details else None, retry_after=retry_after
    )
    application = load_application(session_of(context))
    application.reach_store()
    application.client().fail_activity(token, error)
    _say(context, "failed")


def _say(context: click.Context, outcome: str) -> None:
    if session_of(context).json:
        print_json({"outcome": outcome})
    else:
        say(f"the activity attempt is reported as {outcome}")
