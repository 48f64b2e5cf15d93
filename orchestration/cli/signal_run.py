"""``orchestration signal``: a message for a run."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import workflow_argument
from orchestration.cli.exits import CliError
from orchestration.cli.output import print_json, say
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import JSON, Parsed

__all__ = ["signal_run"]


@command("signal", short_help="send a message to a run")
@workflow_argument
@click.argument("topic")
@click.argument("payloads", type=JSON, nargs=-1, metavar="[JSON]...")
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@click.option("--request-id", metavar="TEXT", help="The same request id delivers once, however often it is sent.")
@shared_options
@click.pass_context
def signal_run(
    context: click.Context, workflow_id: str, topic: str, payloads: tuple[Parsed, ...], run_id: str | None,
    request_id: str | None,
) -> None:  # fmt: skip
    """Send a message to a run; it is stored in Redis when this ends.

    The workflow takes it from process.inbox() or process.listen(topic). Each JSON value is one payload; @FILE and -
    read one from a file and from standard input. A negative number goes after a --.

    \b
    Example:
      orchestration signal approval-7 decision '{"approved": true, "by": "Ana"}'

    \b
    Next:
      orchestration show order-7             what it made of it
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    try:
        handle.signal(topic, *(item.value for item in payloads), request_id=request_id)
    except ValueError as error:
        raise CliError(str(error)) from error
    if session.json:
        print_json({"id": handle.id, "run_id": handle.run_id, "topic": topic})
    else:
        say(f"{topic} is in the inbox of {handle.id}")
