"""``orchestration history``: what a run was told and what it asked for."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.output import local, print_json, show, table
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import as_json

if TYPE_CHECKING:
    from orchestration.client import WorkflowHandle

__all__ = ["FORMAT", "history"]

FORMAT = 1
"""Of the lines that ``--json`` prints."""

_ENCODED = ("args", "result", "value")


@click.command()
@click.argument("workflow_id", metavar="ID")
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
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    if session.json:
        for line in _lines(handle):
            print_json(line, pretty=False)
        return
    made = table("#", "time", "event", "facts", shorten="facts")
    for number, raw in enumerate(handle.raw_history(), 1):
        name, time_ms, facts = _explain(raw)
        shown = as_json(facts)[1:-1] if facts else ""
        made.add_row(str(number), local(time_ms) if time_ms else "", name if time_ms else f"  {name}", shown)
    if made.row_count:
        show(made)
    else:
        print("no events yet: no worker has taken this run")


def _lines(handle: WorkflowHandle) -> Iterator[dict[str, Any]]:
    seen = handle.describe()
    code = handle.code()
    yield {
        "format": FORMAT, "workflow_id": seen.workflow_id, "run_id": seen.run_id, "type": seen.type,
        "status": seen.status, "bundle": _base64(code) if code is not None else None,
    }  # fmt: skip
    for number, raw in enumerate(handle.raw_history(), 1):
        name, time_ms, facts = _explain(raw)
        at = {"time_ms": time_ms} if time_ms else {}
        yield {"number": number, "event": name, **at, **facts, "bytes": _base64(raw)}


def _explain(raw: bytes) -> tuple[str, int, dict[str, Any]]:
    """Name, time (0 for commands) and the other elements of an event, payloads decoded."""
    from orchestration.core import events, payload

    event = events.decode(raw)
    facts: dict[str, Any] = {}
    time_ms = 0
    for name in events.fields_of(event):
        value = getattr(event, name)
        if name == "time_ms":
            time_ms = value
        elif name == "failure":
            facts[name] = payload.decode_failure(value)
        elif name in _ENCODED:
            facts[name] = payload.decode(value)
        elif value not in (None, "", {}):
            facts[name] = value
    return event.CODE.name.lower(), time_ms, facts


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
