"""``orchestration fork``: another workflow that begins with the history of one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import workflow_argument
from orchestration.cli.exits import CliError
from orchestration.cli.output import print_json, say
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import JSON, event_place

if TYPE_CHECKING:
    from orchestration.client import Preview

__all__ = ["fork"]


@command(short_help="another workflow with the history of one: what if?")
@workflow_argument
@click.option("--from", "where", default="last", metavar="EVENT", show_default=True,
              help="Number of an input, or a name, as for `reset`.")
@click.option("--edit", metavar="SEQ=JSON", help="Give activity SEQ another result; what came after it is dropped.")
@click.option("--id", "new_id", metavar="NEW_ID", help="Id of the new workflow. Default: one made of ID.")
@click.option("--new-code", is_flag=True, help="Begin with the code of this checkout, if it fits up to the event.")
@click.option("--force", is_flag=True, help="Also where a child is open, which will not answer the new workflow.")
@click.option("--dry-run", is_flag=True, help="Say where it would stand and what it would ask for; write nothing.")
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@shared_options
@click.pass_context
def fork(
    context: click.Context, workflow_id: str, where: str, edit: str | None, new_id: str | None, new_code: bool,
    force: bool, dry_run: bool, run_id: str | None,
) -> None:  # fmt: skip
    """Begin another workflow with the history of one up to an event; the one goes on by itself.

    With --edit a recorded activity gets another result: what if the bank had said no? With --dry-run that is answered
    on a machine that is thrown away.

    \b
    Examples:
      orchestration fork order-7 --edit '3={"paid": false}' --dry-run
      orchestration fork order-7 --from 12 --id order-7-again

    \b
    Next:
      orchestration show order-7-again       where it stands
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    place, change = event_place(where), _edit(edit)
    try:
        if dry_run:
            _print(handle.preview(place, edit=change, new_code=new_code), as_json=session.json)
            return
        new = handle.fork(place, id=new_id, edit=change, new_code=new_code, force=force)
    except ValueError as error:
        raise CliError(f"{handle.id} cannot be forked: {error}") from error
    if session.json:
        print_json({"id": new.id, "run_id": new.run_id, "status": new.describe().status, "forked_from": handle.run_id})
    else:
        say(f"{new.id} begins as run {new.run_id}")


def _edit(text: str | None) -> tuple[int, Any] | None:
    if text is None:
        return None
    seq, equals, value = text.partition("=")
    if not equals or not seq.strip().isdigit():
        raise CliError(f"--edit takes the number of an activity and its result, as 3={{}}: not {text!r}")
    return int(seq), JSON.convert(value, None, None).value


def _print(preview: Preview, *, as_json: bool) -> None:
    if as_json:
        print_json(dataclasses.asdict(preview))
        return
    say(f"event {preview.event}: {preview.kept} events kept, {preview.dropped} dropped")
    for asked in preview.commands:
        say(f"it would ask for {asked}")
    for item in preview.open:
        say(f"open: {item}")
    if preview.closed:
        say("it would end")
    for place in preview.places:
        say(f"would stand at {place.file}:{place.line} {place.waits_for}".rstrip())
