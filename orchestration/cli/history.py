"""``orchestration history``: what a run was told and what it asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import workflow_argument
from orchestration.cli.output import clock, print_json, say, show, table
from orchestration.cli.session import session_of, shared_options
from orchestration.core.export import as_json, explain_event, history_lines

if TYPE_CHECKING:
    from orchestration.client import WorkflowHandle

__all__ = ["history"]


@command(short_help="all that a run was told and asked for")
@workflow_argument
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@shared_options
@click.pass_context
def history(context: click.Context, workflow_id: str, run_id: str | None) -> None:
    """Print the events of a run, oldest first: inputs at their time, below each the commands that it caused.

    With --json the first line is about the run and has its code, each other line is one event; `bytes` is the event
    (and `bundle` the code) exactly as stored, in base64, so that the run can be replayed elsewhere.

    \b
    Examples:
      orchestration history order-7
      orchestration history order-7 --json > order-7.jsonl

    \b
    Next:
      orchestration reset order-7 --to 12    go on from an earlier event
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    if session.json:
        for line in _lines(handle):
            print_json(line, pretty=False)
        return
    made = table("#", "time", "event", "facts", shorten="facts")
    explained = [explain_event(raw) for raw in handle.raw_history()]
    times = clock([time_ms for _, time_ms, _ in explained])
    for number, (name, time_ms, facts) in enumerate(explained, 1):
        shown = as_json(facts)[1:-1] if facts else ""
        made.add_row(str(number), times[number - 1], name if time_ms else f"  {name}", shown)
    if made.row_count:
        show(made)
    else:
        say("no events yet: no worker has taken this run")


def _lines(handle: WorkflowHandle) -> Iterator[dict[str, Any]]:
    seen = handle.describe()
    head = {
        "workflow_id": seen.workflow_id, "run_id": seen.run_id, "type": seen.type, "status": seen.status,
    }  # fmt: skip
    return history_lines(head, handle.code(), handle.raw_history())
