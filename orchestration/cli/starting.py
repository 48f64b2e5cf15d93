"""The options with which a workflow is started, from ``run`` and from ``start``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestration.cli.application import Application
from orchestration.cli.exits import CliError
from orchestration.cli.values import JSON, SECONDS, Parsed

if TYPE_CHECKING:
    from orchestration.client import WorkflowHandle

__all__ = ["start_options", "start_workflow"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def start_options(command: _Command) -> _Command:
    """Give a command the arguments of a start; they arrive as keyword arguments for :func:`start_workflow`."""
    options = (
        click.argument("entry", metavar="ENTRY"),
        click.option(
            "--input", "-i", "inputs", type=JSON, multiple=True, metavar="JSON",
            help="An argument of the workflow, as JSON, @FILE or - for standard input. Once for each argument.",
        ),
        click.option("--id", "workflow_id", metavar="ID", help="Name of the workflow. Default: a new UUID."),
        click.option(
            "--conflict", type=click.Choice(["fail", "use_existing", "terminate_existing"]), default="fail",
            help="When a run of this id is open.", show_default=True,
        ),
        click.option(
            "--reuse", default="allow_duplicate", help="When a run of this id has ended.", show_default=True,
            type=click.Choice(["allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate"]),
        ),
        click.option("--queue", metavar="NAME", help="Another task queue than the entry's."),
        click.option("--run-timeout", type=SECONDS, metavar="TIME", help="The run is ended after this, as 1h30m."),
        click.option(
            "--context", "values", type=JSON, metavar="JSON", help="Context values, a JSON object; ctx in Lua."
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def start_workflow(
    application: Application, *, entry: str, inputs: tuple[Parsed, ...], workflow_id: str | None, conflict: str,
    reuse: str, queue: str | None, run_timeout: float | None, values: Parsed | None,
) -> WorkflowHandle:  # fmt: skip
    """Start a workflow with the options of the command line.

    Raises:
        CliError: The id or the context cannot be used.
        OrchestrationError: As :meth:`orchestration.Client.start_workflow`.
    """
    ctx = values.value if values is not None else {}
    if not isinstance(ctx, dict):
        raise CliError(f"--context takes a JSON object such as '{{\"user\": \"ana\"}}', not {ctx!r}")
    try:
        return application.client().start_workflow(
            entry, *(item.value for item in inputs), id=workflow_id, id_conflict_policy=conflict,
            id_reuse_policy=reuse, task_queue=queue, context=ctx,
            run_timeout=timedelta(seconds=run_timeout) if run_timeout else None,
        )  # fmt: skip
    except ValueError as error:
        raise CliError(f"--id {workflow_id!r}: {error}" if workflow_id is not None else str(error)) from error
