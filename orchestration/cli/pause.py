"""``orchestration pause``: let runs make no more steps for now."""

from __future__ import annotations

import getpass
from typing import Any

import click

from orchestration.cli.bulk import act_on_runs, bulk_options
from orchestration.cli.commands import command
from orchestration.cli.session import shared_options

__all__ = ["pause"]


@command(short_help="let runs make no more steps for now")
@bulk_options
@click.option("--note", default="", metavar="TEXT", help="Why; `show` tells it, with your name.")
@shared_options
@click.pass_context
def pause(context: click.Context, /, note: str, **chosen: Any) -> None:
    """Let runs make no more steps until they are resumed.

    What is sent to a paused run, its activities and its timers go on; what they bring waits unread. A time limit on the
    run goes on too. A step that is being made at this moment is dropped and made again after `resume`.

    \b
    Examples:
      orchestration pause order-7 --note "the bank is away"
      orchestration pause --all --type app.workflows:approval --rate 50/s

    \b
    Next:
      orchestration list --status paused     those that are
      orchestration resume order-7           let it go on
    """
    by = _user()
    act_on_runs(
        context, lambda handle: handle.pause(note, by=by), done="{id} is paused", would="{id} would be paused",
        default_status="running", **chosen,
    )  # fmt: skip


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name is known for the user id
        return ""
