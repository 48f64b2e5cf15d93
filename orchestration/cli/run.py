"""``orchestration run``: start, follow, print the result."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import click

from orchestration.cli.children import Child, ending_on_signals
from orchestration.cli.commands import command
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.follow import follow
from orchestration.cli.handover import hand_over_from_celery
from orchestration.cli.outcomes import print_failure, print_result
from orchestration.cli.output import note
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.stack import Stack
from orchestration.cli.starting import start_options, start_workflow
from orchestration.cli.values import SECONDS
from orchestration.errors import WorkflowFailedError

__all__ = ["run"]


@command(short_help="start a workflow, show its steps, print its result")
@start_options
@click.option("--timeout", type=SECONDS, metavar="TIME", help="Stop waiting after this, as 30s; exit code 5.")
@click.option(
    "--embedded/--no-embedded", default=None,
    help="Start a Redis for this run. Default: when neither the environment nor the application names one.",
)  # fmt: skip
@click.option(
    "--worker/--no-worker", "wants_worker", default=None, help="Start a worker too. Default: with an embedded Redis."
)
@click.option("--pool", default="threads", show_default=True, help="Pool of that worker: threads, prefork or solo.")
@click.option("--concurrency", "-c", default=4, show_default=True, help="Size of its pool.")
@click.option("--verbose", "-v", is_flag=True, help="Show what the worker writes.")
@shared_options
@click.pass_context
def run(
    context: click.Context, /, timeout: float | None, embedded: bool | None, wants_worker: bool | None, pool: str,
    concurrency: int, verbose: bool, **start: Any,
) -> None:  # fmt: skip
    """Start a workflow, show its steps, print its result as JSON.

    Where no Redis is configured, one is started for this run, with a worker, and both are gone at the end. Steps are
    shown on stderr, the result is all that stdout gets. On a Redis that is configured the run outlives Ctrl-C; the
    message says how to come back to it.

    \b
    Examples:
      orchestration run app:hello --input '"Ana"'
      orchestration run app.workflows:order_processor \\
          --input @order.json --id order-7 --timeout 5m

    \b
    Next:
      orchestration dev                      a Redis and a worker that stay
    """
    session = session_of(context)
    hand_over_from_celery(session)
    with ending_on_signals(), Stack(session, is_embedded=embedded) as stack:
        worker: Child | None = None
        if wants_worker or (wants_worker is None and stack.redis is not None):
            show = _show if verbose else None
            worker = stack.start_worker(pool=pool, concurrency=concurrency, on_line=show)
        if stack.redis is not None and not session.json and sys.stderr.isatty():
            note(f"to reach it from another terminal:  export REDIS_URL={stack.redis.url}")
        handle = start_workflow(stack.application, **start)

        def look_after() -> None:
            if worker is not None and worker.exit_code is not None:
                raise CliError(f"the worker ended with {worker.exit_code}:\n{worker.tail}", Exit.FAILED)

        facts = {"id": handle.id, "run_id": handle.run_id} if session.json else None
        try:
            value = follow(
                handle, stack.application.orchestration.runtime, timeout_s=timeout, is_quiet=session.json,
                look_after=look_after, application=stack.application, has_worker=worker is not None,
            )  # fmt: skip
        except WorkflowFailedError as error:
            status = handle.describe().status
            code = print_failure(
                error, f"workflow {handle.id!r} {status}", facts=facts and {**facts, "status": status}
            )
        except BaseException:
            if stack.redis is None:
                advice = stack.application.advice
                note(f"the run goes on: `{advice(f'show {handle.id}')}`, `{advice(f'terminate {handle.id}')}`")
            raise
        else:
            code = print_result(value, facts=facts and {**facts, "status": "completed"})
    context.exit(code)


def _show(name: str, line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stderr.fileno(), f"{name} | {line}\n".encode())
