"""``orchestration start``: start and return."""

from __future__ import annotations

from typing import Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.output import print_json, say
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.starting import start_options, start_workflow

__all__ = ["start"]


@command(short_help="start a workflow and return")
@start_options
@shared_options
@click.pass_context
def start(context: click.Context, /, **options: Any) -> None:
    """Start a workflow and return; it is stored in Redis when this ends.

    \b
    Example:
      orchestration start app.workflows:approval --id approval-7 \\
          --input '{"order_id": "7"}'
      orchestration signal approval-7 decision '{"approved": true}'
      orchestration result approval-7

    \b
    Next:
      orchestration show order-7 --follow    watch it
      orchestration result order-7           wait for its result
    """
    session = session_of(context)
    application = load_application(session)
    handle = start_workflow(application, **options)
    if session.json:
        print_json({"id": handle.id, "run_id": handle.run_id, "pid": handle.pid})
    else:
        command = application.advice(f"show {handle.id}")
        say(f"started {handle.id} (run {handle.run_id}); `{command}` says where it stands")
