"""``orchestration query``: ask a run something."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import workflow_argument
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.outcomes import print_failure, print_result
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import JSON, SECONDS, Parsed
from orchestration.errors import QueryFailedError

__all__ = ["query"]


@command(short_help="ask a run something")
@workflow_argument
@click.argument("name", metavar="[NAME]", default="@handlers")
@click.argument("args", type=JSON, nargs=-1, metavar="[JSON]...")
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@click.option(
    "--timeout", type=SECONDS, default=5.0, metavar="TIME",
    help="Longest wait for a run that no worker has taken yet; exit code 5. Default: 5s.",
)  # fmt: skip
@shared_options
@click.pass_context
def query(
    context: click.Context, workflow_id: str, name: str, args: tuple[Parsed, ...], run_id: str | None, timeout: float
) -> None:
    """Ask a run something and print the answer as JSON; exit code 1 when the query fails.

    The answer is worked out here, from the history: no worker is needed, and a run that has ended answers too. NAME is
    a query that the code registers with workflow.query; without one, the names of its queries and updates are printed.
    Each JSON value is one argument; @FILE and - read one from a file and from standard input.

    \b
    Examples:
      orchestration query order-7
      orchestration query order-7 state
      orchestration query order-7 price 50

    \b
    Next:
      orchestration update order-7 NAME      ask it to change
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    facts = {"id": handle.id, "run_id": handle.run_id, "query": name} if session.json else None
    try:
        value = handle.query(name, *(item.value for item in args), timeout=timeout)
    except QueryFailedError as error:
        if error.kind == "Unavailable" and not handle.describe().history_length:
            raise CliError(f"{error.message}; is a worker up that serves its queue?", Exit.TIMEOUT) from error
        context.exit(print_failure(error, f"query {name!r} of {handle.id!r} failed", facts=facts))
    context.exit(print_result(value, facts=facts))
