"""``orchestration update``: ask a run to change, and wait for its answer."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import workflow_argument
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.outcomes import print_failure, print_result
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import JSON, SECONDS, Parsed
from orchestration.errors import UpdateFailedError, UpdateRejectedError

__all__ = ["update"]


@command(short_help="ask a run to change, and wait for its answer")
@workflow_argument
@click.argument("name")
@click.argument("args", type=JSON, nargs=-1, metavar="[JSON]...")
@click.option("--update-id", metavar="TEXT", help="The same update id is carried out once, and answered alike.")
@click.option("--timeout", type=SECONDS, metavar="TIME", help="Longest wait, as 30s; exit code 5. Default: for ever.")
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@shared_options
@click.pass_context
def update(
    context: click.Context, workflow_id: str, name: str, args: tuple[Parsed, ...], update_id: str | None,
    timeout: float | None, run_id: str | None,
) -> None:  # fmt: skip
    """Ask a run to change and print its answer as JSON.

    NAME is an update that the code registers with workflow.update. Each JSON value is one argument; @FILE and - read
    one from a file and from standard input. Exit code 1 when the update failed, 6 when it was rejected: nothing has
    happened then.

    \b
    Example:
      orchestration update account-7 withdraw 50 --update-id invoice-12

    \b
    Next:
      orchestration query order-7            what it can be asked
    """
    session = session_of(context)
    application = load_application(session)
    handle = application.find(workflow_id, run_id)
    facts = {"id": handle.id, "run_id": handle.run_id, "update": name} if session.json else None
    try:
        value = handle.update(name, *(item.value for item in args), update_id=update_id, timeout=timeout)
    except TimeoutError as error:
        message = f"{error}; `{application.advice(f'show {handle.id}')}` says what it waits for"
        raise CliError(message, Exit.TIMEOUT) from error
    except ValueError as error:
        raise CliError(str(error)) from error
    except UpdateRejectedError as error:
        print_failure(error, f"{handle.id!r} rejected the update {name!r}", facts=facts)
        context.exit(Exit.REFUSED)
    except UpdateFailedError as error:
        context.exit(print_failure(error, f"update {name!r} of {handle.id!r} failed", facts=facts))
    context.exit(print_result(value, facts=facts))
