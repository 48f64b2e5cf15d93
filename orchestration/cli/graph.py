"""``orchestration graph``: what came after what in a run, as a picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import workflow_argument
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.output import note, print_json
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.steps import read_steps
from orchestration.core.graph import as_mermaid, make_graph
from orchestration.core.graph_svg import as_svg

__all__ = ["graph"]


@command(short_help="a run as a picture: what came after what")
@workflow_argument
@click.option("--run", "run_id", metavar="RUN_ID", help="One run of it. Default: the latest.")
@click.option(
    "--format", "kind", type=click.Choice(["mermaid", "svg"]), default="mermaid", show_default=True,
    help="Text for Markdown pages, or a picture.",
)  # fmt: skip
@click.option("--output", "-o", metavar="FILE", help="Write it there. Default: standard output.")
@click.option("--all", "is_all", is_flag=True, help="Every step by itself: do not fold five or more that are alike.")
@shared_options
@click.pass_context
def graph(
    context: click.Context, workflow_id: str, run_id: str | None, kind: str, output: str | None, is_all: bool
) -> None:
    """Draw what a run did: its activities, children, timers and messages, each after what it waited for.

    Only what the history has is drawn, so a run that is open shows how far it has come. With --json the nodes and edges
    are printed instead of a picture.

    \b
    Examples:
      orchestration graph order-7
      orchestration graph order-7 --format svg --output order-7.svg

    \b
    Next:
      orchestration timeline order-7     the same steps against the clock
    """
    session = session_of(context)
    handle = load_application(session).find(workflow_id, run_id)
    seen, timeline = read_steps(handle)
    made = make_graph(timeline, title=(seen.workflow_id, seen.type), fold=not is_all)
    if session.json:
        nodes = [dataclasses.asdict(node) for node in made.nodes]
        facts = {"id": handle.id, "run_id": seen.run_id, "status": seen.status, "nodes": nodes, "edges": made.edges}
        if output is None:
            print_json(facts)
            return
    text = as_svg(made) if kind == "svg" else as_mermaid(made)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, "utf-8")
    except OSError as error:
        raise CliError(f"--output {output}: {error.strerror or error}", Exit.USAGE) from error
    if session.json:
        print_json({"id": handle.id, "run_id": seen.run_id, "output": output, "format": kind})
    else:
        note(f"{output}: {len(made.nodes)} boxes, {len(made.edges)} arrows")
