"""``orchestration show``: where a run stands, read from the store alone; with ``--follow`` until it has ended."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import workflow_argument
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.follow import each_change, follow_lines
from orchestration.cli.outcomes import failure_facts, failure_line
from orchestration.cli.output import console, note, print_json
from orchestration.cli.output import show as show_text
from orchestration.cli.run_picture import run_picture
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import SECONDS
from orchestration.errors import ApplicationError

if TYPE_CHECKING:
    from orchestration.cli.application import Application
    from orchestration.client import Description, WorkflowHandle

__all__ = ["show"]


@command(short_help="where a run stands, and why it does not go on")
@workflow_argument
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@click.option("--follow", "-f", is_flag=True, help="Go on showing it until it has ended; exit codes as `result`.")
@click.option("--timeout", type=SECONDS, metavar="TIME", help="With --follow: longest wait; exit code 5.")
@shared_options
@click.pass_context
def show(context: click.Context, workflow_id: str, run_id: str | None, follow: bool, timeout: float | None) -> None:
    """Show where a run stands: each coroutine's file and line, what it waits for, since when.

    Everything is read from Redis; no worker needs to be up. With --follow the terminal shows every change until the run
    has ended, what is no terminal gets a line for each, and --json an object.

    \b
    Examples:
      orchestration show order-7
      orchestration show order-7 --follow
      orchestration show order-7 --json | jq .places

    \b
    Next:
      orchestration history order-7      what it was told and what it asked for
      orchestration timeline order-7     how long each step took
    """
    session = session_of(context)
    if timeout is not None and not follow:
        raise CliError("--timeout is for --follow: give that too")
    application = load_application(session)
    handle = application.find(workflow_id, run_id)
    if follow:
        context.exit(_follow(application, handle, timeout, as_json=session.json))
    seen = handle.describe()
    outcome = _outcome(handle) if seen.closed_ms else {}
    if session.json:
        print_json(_facts(seen, outcome))
    else:
        show_text(run_picture(seen, **outcome))


def _follow(application: Application, handle: WorkflowHandle, timeout: float | None, *, as_json: bool) -> Exit:
    changes = each_change(application.orchestration.runtime, handle, timeout_s=timeout)
    last = None
    if not as_json and console().is_terminal:
        last = _follow_live(changes)
    else:
        for seen in changes if as_json else follow_lines(changes):
            if seen is not last and as_json and not (seen.closed_ms and not seen.next_run_id):
                print_json(_facts(seen, {}), pretty=False)
            last = seen
    assert last is not None  # a run that is not known has been told before
    outcome = _outcome(handle)
    if as_json:
        print_json(_facts(last, outcome), pretty=False)
    elif console().is_terminal:
        show_text(run_picture(last, **outcome))
    if "failure" in outcome:
        if not as_json:
            note(f"error: workflow {handle.id!r} {last.status}: {failure_line(outcome['failure'])}")
        return Exit.FAILED
    return Exit.OK


def _follow_live(changes: Any) -> Description | None:
    """Show the run in place, as long as it is open."""
    from rich.live import Live

    last = None
    with Live(console=console(), transient=True, auto_refresh=False, vertical_overflow="ellipsis") as live:
        for last in changes:
            live.update(run_picture(last), refresh=True)
    return last


def _outcome(handle: WorkflowHandle) -> dict[str, Any]:
    try:
        return {"result": (handle.result(timeout=0),)}
    except ApplicationError as error:
        return {"failure": error}
    except TimeoutError:  # another run has taken its place, and is open
        return {}


def _facts(seen: Description, outcome: dict[str, Any]) -> dict[str, Any]:
    facts = dataclasses.asdict(seen)
    if "result" in outcome:
        facts["result"] = outcome["result"][0]
    if "failure" in outcome:
        facts["failure"] = failure_facts(outcome["failure"])
    return facts
