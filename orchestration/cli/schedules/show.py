"""``orchestration schedule show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import complete_schedules
from orchestration.cli.output import print_json, say, when
from orchestration.cli.output import show as show_text
from orchestration.cli.rows import show_rows
from orchestration.cli.schedules.options import find_schedule
from orchestration.cli.schedules.texts import facts, rules_text, state_text
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import as_json

if TYPE_CHECKING:
    from orchestration.client import ScheduleDescription

__all__ = ["show"]

_TIMES = 3


@command(short_help="its next times, open runs, last actions")
@click.argument("schedule_id", metavar="ID", shell_complete=complete_schedules)
@shared_options
@click.pass_context
def show(context: click.Context, schedule_id: str) -> None:
    """Show what a schedule is, its next times, its open runs, its last actions, and what it left out.

    \b
    Example:
      orchestration schedule show nightly

    \b
    Next:
      orchestration list --id-prefix nightly the runs that it started
    """
    session = session_of(context)
    seen = find_schedule(load_application(session), schedule_id).describe()
    if session.json:
        print_json(facts(seen))
    else:
        _print(seen)


def _print(seen: ScheduleDescription) -> None:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("schedule", seen.id)
    grid.add_row("state", state_text(seen) + (f": {seen.note}" if seen.note else ""))
    grid.add_row("times", rules_text(seen))
    for name, moment in (("from", seen.spec.start_at), ("until", seen.spec.end_at)):
        if moment is not None:
            grid.add_row(name, moment.isoformat())
    if seen.remaining is not None:
        grid.add_row("remaining", f"{seen.remaining} of {seen.spec.max_actions} starts")
    grid.add_row("starts", f"{seen.action.workflow_type} {as_json(list(seen.action.args))}")
    pauses = ", pauses when a run fails" if seen.policy.pause_on_failure else ""
    grid.add_row("policy", f"overlap {seen.policy.overlap}, catches up for {seen.policy.catchup_window}{pauses}")
    for time in seen.next_times[:_TIMES]:
        grid.add_row("next", when(time.due_ms))
    waiting = [
        (seen.buffered, "waiting for a run to end"), (seen.starting, "being started"), (seen.backfilling, "backfills"),
    ]  # fmt: skip
    if any(count for count, _ in waiting):
        grid.add_row("to do", ", ".join(f"{count} {what}" for count, what in waiting if count))
    if seen.problem:
        grid.add_row("problem", f"{seen.problem} (it is tried again)")
    if seen.counters:
        grid.add_row("counters", ", ".join(f"{name} {count}" for name, count in sorted(seen.counters.items())))
    show_text(grid)
    for title, runs in (("open runs", seen.running), ("last actions", seen.recent)):
        if not runs:
            continue
        say(f"\n{title}")
        columns = ["workflow", "by", "status", "since" if title == "open runs" else "at", "problem"]
        rows = [[run.workflow_id, run.origin, run.status, when(run.at_ms), run.problem] for run in runs]
        show_rows(columns, rows, below=("problem",))
