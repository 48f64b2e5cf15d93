"""``orchestration result``: wait for the end of a run."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import workflow_argument
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.outcomes import print_failure, print_result
from orchestration.cli.patience import wait_for_result
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import SECONDS
from orchestration.errors import WorkflowFailedError

__all__ = ["result"]


@command(short_help="wait for the end of a run, print its result")
@workflow_argument
@click.option("--timeout", type=SECONDS, metavar="TIME", help="Longest wait, as 30s; exit code 5. Default: for ever.")
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@shared_options
@click.pass_context
def result(context: click.Context, workflow_id: str, timeout: float | None, run_id: str | None) -> None:
    """Wait for the end of a run and print its result as JSON; exit code 1 when it failed.

    When nothing will move it, as when no worker is up or it is parked, stderr says so after five seconds.

    \b
    Example:
      orchestration result order-7 --timeout 30s

    \b
    Next:
      orchestration timeline order-7         what took so long
    """
    session = session_of(context)
    application = load_application(session)
    handle = application.find(workflow_id, run_id)
    facts = {"id": handle.id, "run_id": handle.run_id} if session.json else None
    try:
        value = wait_for_result(application, handle, timeout_s=timeout, is_quiet=session.json)
    except TimeoutError as error:
        message = f"{error}; `{application.advice(f'show {handle.id}')}` says what it waits for"
        raise CliError(message, Exit.TIMEOUT) from error
    except WorkflowFailedError as error:
        status = handle.describe().status
        known = None if facts is None else {**facts, "status": status}
        context.exit(print_failure(error, f"workflow {handle.id!r} {status}", facts=known))
    context.exit(print_result(value, facts=None if facts is None else {**facts, "status": "completed"}))
