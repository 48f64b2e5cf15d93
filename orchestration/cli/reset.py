"""``orchestration reset``: go on from an earlier event, as a new run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.bulk import act_on_runs, bulk_options
from orchestration.cli.commands import command
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.session import shared_options
from orchestration.cli.values import event_place

if TYPE_CHECKING:
    from orchestration.client import Preview, WorkflowHandle

__all__ = ["reset", "told"]


@command(short_help="go on from an earlier event, as a new run")
@bulk_options
@click.option("--to", "event", required=True, metavar="EVENT", help="Number of an input, or a name, see above.")
@click.option("--reason", "-r", default="", metavar="TEXT", help="Kept in the history of the old run.")
@click.option("--no-signals", is_flag=True, help="Do not deliver again the signals that came after the event.")
@click.option("--new-code", is_flag=True, help="Go on with the code of this checkout, if it fits up to the event.")
@shared_options
@click.pass_context
def reset(
    context: click.Context, /, event: str, reason: str, no_signals: bool, new_code: bool, **chosen: Any
) -> None:
    """Go on from an earlier event: a new run takes the place of the old one, which is ended and kept as it is.

    EVENT is the number of an input, as `history` shows it; the commands that it caused belong to it. Or a name: start,
    last, first-failure (before the first failure of an activity came), last-activity (before the last answer of an
    activity came). Activities that are open there are run anew, timers go on with the time that is left, children go
    on. Whoever waits for the workflow waits for the new run.

    \b
    Examples:
      orchestration reset order-7 --to 12 --reason "a wrong answer"
      orchestration reset order-7 --to last-activity --new-code
      orchestration reset --all --status failed --to first-failure --dry-run

    \b
    Next:
      orchestration show order-7             where the new run stands
    """
    place = event_place(event)

    def act(handle: WorkflowHandle) -> dict[str, Any]:
        old_run_id = handle.run_id
        try:
            new = handle.reset(place, reason, signals=not no_signals, new_code=new_code)
        except ValueError as error:
            raise CliError(f"{handle.id} cannot be reset: {error}") from error
        return {"old_run_id": old_run_id, "run_id": new.run_id}

    def rehearse(handle: WorkflowHandle) -> dict[str, Any]:
        try:
            return told(handle.preview(place, new_code=new_code))
        except ValueError as error:
            raise CliError(f"{handle.id} cannot be reset: {error}", Exit.USAGE) from error

    act_on_runs(
        context, act, done="{id} goes on as run {run_id}",
        would="{id} would go on from event {event}, {dropped} events dropped; open there: {open_text}",
        default_status="", rehearse=rehearse, **chosen,
    )  # fmt: skip


def told(preview: Preview) -> dict[str, Any]:
    """Facts of a preview."""
    return {
        "event": preview.event, "kept": preview.kept, "dropped": preview.dropped, "open": list(preview.open),
        "open_text": ", ".join(preview.open) or "nothing",
    }  # fmt: skip
