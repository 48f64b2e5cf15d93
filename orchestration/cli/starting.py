"""The options with which a workflow is started, from ``run`` and from ``start``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestration.cli.application import Application
from orchestration.cli.completion import complete_entries
from orchestration.cli.exits import CliError
from orchestration.cli.identity import identity_options, read_identity
from orchestration.cli.values import JSON, SECONDS, Parsed

if TYPE_CHECKING:
    from orchestration.client import WorkflowHandle

__all__ = ["start_options", "start_workflow"]

_CONFLICT: Final = ("fail", "use_existing", "terminate_existing")
_REUSE: Final = ("allow_duplicate", "allow_duplicate_failed_only", "reject_duplicate", "terminate_if_running")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def start_options(command: _Command) -> _Command:
    """Give a command the arguments of a start; they arrive as keyword arguments for :func:`start_workflow`."""
    options = (
        click.argument("entry", metavar="ENTRY", shell_complete=complete_entries),
        click.option(
            "--input", "-i", "inputs", type=JSON, multiple=True, metavar="JSON",
            help="An argument of the workflow, as JSON, @FILE or - for standard input. Once for each argument.",
        ),
        click.option("--id", "workflow_id", metavar="ID", help="Name of the workflow. Default: a new UUID."),
        click.option(
            "--conflict", type=click.Choice(_CONFLICT), default="fail", show_default=True, metavar="POLICY",
            help=f"When a run of this id is open: {', '.join(_CONFLICT)}.",
        ),
        click.option(
            "--reuse", type=click.Choice(_REUSE), default="allow_duplicate", show_default=True, metavar="POLICY",
            help=f"When a run of this id has ended: {', '.join(_REUSE)}.",
        ),
        click.option("--queue", metavar="NAME", help="Another task queue than the entry's."),
        click.option("--run-timeout", type=SECONDS, metavar="TIME", help="A run is ended after this, as 1h30m."),
        click.option(
            "--execution-timeout", type=SECONDS, metavar="TIME", help="The workflow is ended after this."
        ),
        click.option(
            "--cancel-grace", type=SECONDS, metavar="TIME", help="Before a timeout ask it to cancel, and wait so long."
        ),
        click.option("--start-delay", type=SECONDS, metavar="TIME", help="It begins after this."),
        click.option("--cron", default="", metavar="SCHEDULE", help="Run it over and over: '30 2 * * *', @daily."),
        click.option(
            "--attempts", type=click.IntRange(1), metavar="N", help="Run it again when it fails, N times in all."
        ),
        click.option(
            "--search", type=JSON, metavar="JSON", help="Search attributes, a JSON object."
        ),
        click.option("--memo", type=JSON, metavar="JSON", help="What else is to be shown of it, a JSON object."),
        click.option("--summary", default="", metavar="TEXT", help="A line for people."),
        click.option(
            "--context", "values", type=JSON, metavar="JSON", help="Context values, a JSON object; ctx in Lua."
        ),
    )  # fmt: skip
    command = identity_options(command)
    for option in reversed(options):
        command = option(command)
    return command


def start_workflow(
    application: Application, *, entry: str, inputs: tuple[Parsed, ...], workflow_id: str | None, conflict: str,
    reuse: str, queue: str | None, run_timeout: float | None, execution_timeout: float | None,
    cancel_grace: float | None, start_delay: float | None, cron: str, attempts: int | None, search: Parsed | None,
    memo: Parsed | None, summary: str, values: Parsed | None, actor: str | None,
    scope: tuple[str, ...],
) -> WorkflowHandle:  # fmt: skip
    """Start a workflow with the options of the command line.

    Raises:
        CliError: The id, or another value, cannot be used.
        OrchestrationError: As :meth:`orchestration.Client.start_workflow`.
    """
    from orchestration.client import RetryPolicy

    try:
        return application.client().start_workflow(
            entry, *(item.value for item in inputs), id=workflow_id, id_conflict_policy=conflict,
            id_reuse_policy=reuse, task_queue=queue, context=_object("--context", values),
            run_timeout=_duration(run_timeout), execution_timeout=_duration(execution_timeout),
            cancel_grace=_duration(cancel_grace), start_delay=_duration(start_delay), cron_schedule=cron,
            retry_policy=RetryPolicy(maximum_attempts=attempts) if attempts else None,
            search=_object("--search", search), memo=_object("--memo", memo), summary=summary,
            **read_identity(application, actor=actor, scope=scope),
        )  # fmt: skip
    except ValueError as error:
        is_of_id = workflow_id is not None and "workflow id" in str(error)
        raise CliError(f"--id {workflow_id!r}: {error}" if is_of_id else str(error)) from error


def _duration(seconds: float | None) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None


def _object(option: str, parsed: Parsed | None) -> dict[str, Any]:
    found = parsed.value if parsed is not None else {}
    if not isinstance(found, dict):
        raise CliError(f"{option} takes a JSON object such as '{{\"user\": \"ana\"}}', not {found!r}")
    return found
