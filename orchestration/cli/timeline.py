"""``orchestration timeline``: a run against the clock."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import workflow_argument
from orchestration.cli.lanes import draw_lanes
from orchestration.cli.output import clock, console, print_json, say, status_text
from orchestration.cli.output import show as show_text
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.steps import read_steps
from orchestration.core.timeline import fold_lanes, span_text

if TYPE_CHECKING:
    from orchestration.client import Description
    from orchestration.core.timeline import Group, Timeline

__all__ = ["timeline"]

_MOST_ROWS = 60


@command(short_help="a run against the clock: how long each step took")
@workflow_argument
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@click.option("--all", "is_all", is_flag=True, help="Every step on a line of its own; nothing is folded or left out.")
@shared_options
@click.pass_context
def timeline(context: click.Context, workflow_id: str, run_id: str | None, is_all: bool) -> None:
    """Show a run against the clock: a line for each activity, timer, child and message, its bar from begin to end.

    Five or more steps in a row that are alike share a line, and of very many the middle is left out; --all shows each.
    A bar begins when the step was asked for, so it has the time in the queue, retries and waits in it.

    \b
    Examples:
      orchestration timeline order-7
      orchestration timeline order-7 --json | jq '.lanes[].attempts'

    \b
    Next:
      orchestration history order-7      the arguments and results of each step
      orchestration graph order-7        which step waited for which
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    seen, steps = read_steps(handle)
    if session.json:
        print_json(_facts(seen, steps))
        return
    if not steps.started_ms:
        say("nothing has happened yet: no worker has taken this run")
        return
    until_ms = seen.closed_ms or max(int(time.time() * 1000), steps.last_ms)
    show_text(_head(seen, steps, until_ms))
    groups = fold_lanes(steps.lanes, least=len(steps.lanes) + 1) if is_all else fold_lanes(steps.lanes)
    if not groups:
        say("no steps")
        return
    rows, left_out = _most(groups, is_all=is_all)
    show_text(draw_lanes(rows, steps.started_ms, until_ms, width=min(console().width, 200), gap=left_out))


def _most(groups: list[Group], *, is_all: bool) -> tuple[list[Group], tuple[int, int]]:
    """The lines to show, and where and how many are left out between them."""
    if is_all or len(groups) <= _MOST_ROWS:
        return groups, (0, 0)
    first = _MOST_ROWS * 2 // 3
    last = _MOST_ROWS - first
    return [*groups[:first], *groups[-last:]], (first, len(groups) - first - last)


def _head(seen: Description, steps: Timeline, until_ms: int) -> Any:
    from rich.text import Text

    began, ended = clock([steps.started_ms, until_ms])
    head = Text(f"{seen.workflow_id}  ", "bold")
    head.append_text(status_text(seen.status))
    head.append(f"  {span_text(until_ms - steps.started_ms)}")
    head.append(f"  {began} → {ended if seen.closed_ms else 'now'}", "dim")
    return head


def _facts(seen: Description, steps: Timeline) -> dict[str, Any]:
    return {
        "id": seen.workflow_id, "run_id": seen.run_id, "type": seen.type, "status": seen.status,
        "started_ms": steps.started_ms, "closed_ms": seen.closed_ms,
        "lanes": [dataclasses.asdict(lane) for lane in steps.lanes],
    }  # fmt: skip
