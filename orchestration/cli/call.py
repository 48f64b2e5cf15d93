"""``orchestration call``: call a function on a worker."""

from __future__ import annotations

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import complete_entries
from orchestration.cli.exits import CliError, Exit, exit_code_of
from orchestration.cli.identity import identity_options, read_identity
from orchestration.cli.outcomes import print_failure, print_result
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import JSON, SECONDS, Parsed
from orchestration.errors import ApplicationError

__all__ = ["call"]


@command(short_help="call a function on a worker, print its result")
@click.argument("function", metavar="FUNCTION", shell_complete=complete_entries)
@click.argument("args", type=JSON, nargs=-1, metavar="[JSON]...")
@click.option("--timeout", type=SECONDS, metavar="TIME", help="Longest wait, as 30s; exit code 5. Default: for ever.")
@identity_options
@shared_options
@click.pass_context
def call(
    context: click.Context, function: str, args: tuple[Parsed, ...], timeout: float | None, actor: str | None,
    scope: tuple[str, ...],
) -> None:  # fmt: skip
    """Call a function on a worker and print its result as JSON; exit code 1 when it fails.

    FUNCTION is the id of a function.lua, function.celery or function.python entry. Each JSON value is one argument;
    @FILE and - read one from a file and from standard input. A negative number goes after a --.

    \b
    Example:
      orchestration call app.pricing:total '[{"name": "chair", "price": 8900}]'

    \b
    Next:
      orchestration check                    which functions there are
    """
    from celery.exceptions import TimeoutError as CeleryTimeoutError

    session = session_of(context)
    application = load_application(session)
    application.reach_store()
    identity = read_identity(application, actor=actor, scope=scope)
    facts = {"function": function} if session.json else None
    failure: ApplicationError | None = None
    is_late = False
    # Each error is let go of where it is caught: its frames hold Celery's AsyncResult, whose end needs the connection,
    # and at the end of the process that is gone.
    try:
        value = application.client().call(function, *(item.value for item in args), timeout=timeout, **identity)
    except CeleryTimeoutError:
        is_late = True
    except ApplicationError as error:
        failure = ApplicationError(error.message, error.kind, error.retryable, error.details)
    except Exception as error:
        # A task may raise anything; what this program or the network raise has a code of its own.
        if exit_code_of(error) is not Exit.INTERNAL:
            raise
        failure = ApplicationError(str(error), type(error).__name__)
    if is_late:
        raise CliError(
            f"{function} gave no result within {timeout:g} s; is a worker up that serves its queue?", Exit.TIMEOUT
        )
    if failure is not None:
        context.exit(print_failure(failure, f"{function} failed", facts=facts))
    context.exit(print_result(value, facts=facts))
