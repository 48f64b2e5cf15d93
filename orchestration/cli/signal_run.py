"""``orchestration signal``: a message for a run."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.exits import CliError
from orchestration.cli.output import print_json
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import JSON, Parsed

__all__ = ["signal_run"]


@click.command("signal")
@click.argument("workflow_id", metavar="ID")
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
        print(f"{topic} is in the inbox of {handle.id}")
