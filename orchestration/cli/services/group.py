"""``orchestration services`` itself: the list, when no other word follows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from orchestration.cli.application import Application, load_application
from orchestration.cli.commands import Commands
from orchestration.cli.output import ago, print_json, say, status_text
from orchestration.cli.rows import show_rows
from orchestration.cli.services.changes import forget, restart, start, stop
from orchestration.cli.session import session_of, shared_options

if TYPE_CHECKING:
    from orchestration.client import ServiceDescription

__all__ = ["services"]


@click.group(
    short_help="processes that are kept running",
    cls=Commands, invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)  # fmt: skip
@shared_options
@click.pass_context
def services(context: click.Context) -> None:
    """List the supervised services: where each stands, since when and why. With --json one object on each line.

    \b
    Example:
      orchestration services
      orchestration services restart app:mailer --timeout 30s
      orchestration services stop app:mailer
    """
    if context.invoked_subcommand is None:
        _list(load_application(session_of(context)), as_json=session_of(context).json)


def _list(application: Application, *, as_json: bool) -> None:
    found = application.client().list_services()
    if as_json:
        for seen in found:
            print_json({**dataclasses.asdict(seen), "restarts": seen.restarts}, pretty=False)
        return
    if not found:
        say("no services; docs/how-to/services.md shows how one is made")
        return
    rows = [
        [
            seen.id, status_text(seen.state), ago(seen.since_ms) if seen.since_ms else "", seen.worker,
            str(seen.restarts), ago(seen.next_start_ms) if seen.next_start_ms else "", _reason(seen),
        ]
        for seen in found
    ]  # fmt: skip
    columns = ["service", "state", "since", "worker", "restarts", "next start", "reason"]
    show_rows(columns, rows, below=("reason",))


def _reason(seen: ServiceDescription) -> str:
    last = f"; last error: {seen.error}" if seen.error and seen.error not in seen.reason else ""
    return seen.reason + last


for _command in (start, stop, restart, forget):
    services.add_command(_command)
