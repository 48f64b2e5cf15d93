"""``orchestration upgrade``: move runs to the code that is here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.bulk import act_on_runs, bulk_options
from orchestration.cli.commands import command
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.output import note
from orchestration.cli.session import session_of, shared_options

if TYPE_CHECKING:
    from orchestration.client import Move, WorkflowHandle

__all__ = ["upgrade"]


@command(short_help="move runs to the code of this checkout")
@bulk_options
@shared_options
@click.pass_context
def upgrade(context: click.Context, /, **chosen: Any) -> None:
    """Move open runs to the code of this checkout, if it fits their history.

    The history of each run is replayed against the code first. A run whose history it does not fit stays on the code
    that it is on, and is told with the event, both sides and the Lua line; the exit code is 1 then. Differences in
    arguments alone are warnings. A run can be moved in any state; one that is parked tries again with `retry`.

    \b
    Examples:
      orchestration upgrade order-7 --dry-run
      orchestration upgrade --all --type app.workflows:order_processor --rate 50/s

    \b
    Next:
      orchestration retry order-7            when it was parked
    """
    as_json = session_of(context).json

    def move(handle: WorkflowHandle, *, dry_run: bool = False) -> dict[str, Any]:
        return _told(handle, handle.upgrade(dry_run=dry_run), as_json=as_json)

    act_on_runs(
        context, move, done="{id} {what}", would="{id} {would}", default_status="open",
        rehearse=lambda handle: move(handle, dry_run=True), **chosen,
    )  # fmt: skip


def _told(handle: WorkflowHandle, move: Move, *, as_json: bool) -> dict[str, Any]:
    from orchestration.client import Fit

    if move.fit in (Fit.BREAKS, Fit.GONE):
        raise CliError(f"{handle.id} stays on its code: {move.reason}", Exit.FAILED)
    facts: dict[str, Any] = {"fit": move.fit.value, "moved": move.moved}
    if as_json:
        return {**facts, "warnings": [dataclasses.asdict(warning) for warning in move.warnings]}
    for warning in move.warnings:
        at = f" at {warning.line}" if warning.line else ""
        text = f"event {warning.event_number}: the history says {warning.expected}, the code asks for {warning.actual}"
        note(f"warning: {handle.id}: {text}{at}")
    is_same = move.fit is Fit.SAME
    return {
        **facts, "what": "is on this code already" if is_same else "goes on with this code",
        "would": "is on this code already" if is_same else "would go on with this code",
    }  # fmt: skip
