"""``orchestration send``: a message for whatever has an address."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.exits import CliError
from orchestration.cli.output import print_json, say
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import JSON, Parsed
from orchestration.core.pid import parse_pid

__all__ = ["send"]


@command(short_help="send a message to a process")
@click.argument("dest", metavar="PID_OR_NAME")
@click.argument("topic")
@click.argument("payloads", type=JSON, nargs=-1, metavar="[JSON]...")
@shared_options
@click.pass_context
def send(context: click.Context, dest: str, topic: str, payloads: tuple[Parsed, ...]) -> None:
    """Send a message to a process, a function that runs, or a workflow; it is in its mailbox when this ends.

    PID_OR_NAME is an address, as `orchestration processes` shows it, or the registered name of a process. Each JSON
    value is one payload; @FILE and - read one from a file and from standard input. A negative number goes after a --.

    \b
    Example:
      orchestration send lobby say '{"text": "maintenance at six"}'

    \b
    Next:
      orchestration processes                whom there is to speak to
    """
    from orchestration.client.processes import is_workflow

    session = session_of(context)
    application = load_application(session)
    values = [item.value for item in payloads]
    run = parse_pid(dest) if is_workflow(dest) else None
    try:
        if run is not None:
            application.find(run.unique).signal(topic, *values)
        else:
            application.client().send(dest, topic, *values)
    except ValueError as error:
        raise CliError(str(error)) from error
    if session.json:
        print_json({"to": dest, "topic": topic})
    else:
        say(f"{topic} is in the mailbox of {dest}")
