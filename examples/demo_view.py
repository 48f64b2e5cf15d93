"""What the demonstration shows: a table while it runs, a report at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from examples.ledger import Ledger

if TYPE_CHECKING:
    from examples.demo import DemoRun
    from examples.demo_workers import DemoWorker

__all__ = ["final_report", "run_table"]

_STATE_STYLE = {"ready": "green", "starting": "yellow", "killed": "bold red", "ended": "red"}


def run_table(runs: Sequence[DemoRun], workers: Sequence[DemoWorker], elapsed_s: float) -> Group:
    """One line for each run: where its code stands and what it waits for."""
    table = Table(expand=True)
    for name in ("run", "state", "stands at", "waits for", "since", "events"):
        table.add_column(name, no_wrap=name != "waits for", overflow="ellipsis")
    now_ms = time.time() * 1000
    for run in runs:
        if run.is_open:
            since = f"{max(0.0, now_ms - run.since_ms) / 1000:.0f} s" if run.since_ms else ""
            table.add_row(run.id, run.status, run.step, run.waits_for, since, str(run.events))
        else:
            style = "green" if run.is_as_expected else "bold red"
            table.add_row(run.id, Text(run.outcome, style), "", Text(run.details, "dim"), "", str(run.events))
    line = Text(f"{elapsed_s:5.1f} s   ")
    for worker in workers:
        state = worker.state
        line.append(f"{worker.name} ({worker.pool}) ")
        line.append(state, _STATE_STYLE.get(state, ""))
        line.append("   ")
    return Group(table, line)


def final_report(
    console: Console, *, runs: Sequence[DemoRun], ledger: Ledger, elapsed_s: float, is_killed: bool
) -> bool:
    """Print results, totals and the proof; returns whether everything is as it should be, the kill included."""
    results = Table(title="Results", title_justify="left")
    for name in ("run", "workflow", "outcome", "details"):
        results.add_column(name)
    for run in runs:
        outcome = run.outcome or f"still {run.status}"
        style = "green" if run.is_as_expected else "bold red"
        shown = Text(outcome if run.is_as_expected else f"{outcome}, expected {run.expect}", style)
        results.add_row(run.id, run.workflow.partition(":")[2], shown, run.details)
    console.print(results)

    totals = Table(title="The ledger: what happened in the outside world", title_justify="left")
    for name in ("effect", "times", "money"):
        totals.add_column(name, justify="left" if name == "effect" else "right")
    for kind, (count, cents) in ledger.totals().items():
        totals.add_row(kind, str(count), f"{cents / 100:,.2f}" if cents else "")
    console.print(totals)

    repeated = [effect for effect in ledger.effects(kind="charge") if effect.asked > 1]
    ran_again = sum(count - 1 for count in ledger.executions_by_key().values())
    twice = ledger.charged_twice()
    charges = len(ledger.effects(kind="charge"))
    console.print(
        f"{sum(ledger.executions().values())} activity bodies ran, {ran_again} of them again after a failure or a "
        f"kill; {len(repeated)} charges were asked for more than once."
    )
    if twice:
        console.print(f"[bold red]CHARGED TWICE: {', '.join(twice)}[/]")
    else:
        console.print(
            f"[bold green]Nobody was charged twice:[/] {charges} charges for {charges} different orders, "
            "each with an idempotency key of its own."
        )
    still_open = [run.id for run in runs if run.is_open]
    wrong = [run.id for run in runs if not run.is_open and not run.is_as_expected]
    if still_open:
        console.print(f"[bold red]Not finished after {elapsed_s:.0f} s: {', '.join(still_open)}[/]")
    if wrong:
        console.print(f"[bold red]Ended otherwise than expected: {', '.join(wrong)}[/]")
    if not is_killed:
        console.print("[bold red]No worker was killed: this run shows nothing[/]")
    is_good = is_killed and not (twice or still_open or wrong)
    if is_good:
        console.print(f"All {len(runs)} runs ended as they should, in {elapsed_s:.0f} s, one worker killed on the way.")
    return is_good
