"""``orchestration check``: load the definitions and say what is wrong with them."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.against_running import find_breaks
from orchestration.cli.application import app_name, load_application, prepare_environment
from orchestration.cli.commands import command
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.output import note, print_json, say
from orchestration.cli.rows import show_rows
from orchestration.cli.session import Session, session_of, shared_options
from orchestration.cli.unknown_targets import unknown_targets
from orchestration.cli.unknown_tasks import unknown_tasks

if TYPE_CHECKING:
    from orchestration.registry import Problem, Registry

__all__ = ["check"]


@command(short_help="what is wrong with the definitions, with the cure")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--quiet", "-q", is_flag=True, help="Do not list the entries.")
@click.option("--against-running", is_flag=True, help="Also replay every open run against the code; needs the Redis.")
@click.option("--type", "-t", "entry", metavar="ENTRY", help="With --against-running: only runs of this entry.")
@shared_options
@click.pass_context
def check(
    context: click.Context, paths: tuple[str, ...], quiet: bool, against_running: bool, entry: str | None
) -> None:
    """Check definitions: every mistake with file, line and cure; exit code 1 when there is one.

    PATHs are folders or single files of definitions; without any, those of the application, else
    $ORCHESTRATION_CONFIG, else config/. Lua is compiled, and each entry's main chunk is run once in its sandbox to see
    whether it has the method; nothing is started, and no Redis is needed. Warnings do not change the exit code.

    With --against-running the history of every open run is replayed against the code as well, before it is deployed:
    exit code 1 when one would break. Only Redis is read; no worker is needed.

    \b
    Examples:
      orchestration check
      orchestration check config/workflows --json
      orchestration check --quiet --against-running

    \b
    Next:
      orchestration run ENTRY                try one of the entries
    """
    from orchestration.cli.trial import try_loading
    from orchestration.registry import DefinitionsError, FunctionCelery, load_registry

    session = session_of(context)
    if entry and not against_running:
        raise CliError("--type chooses among the runs of --against-running: give that too")
    if against_running and paths:
        session.config = paths  # runs are found by an application, which takes them for its definitions
    prepare_environment(session)
    application = None
    is_app_asked = bool(session.app or session.loaded_app)
    if against_running or is_app_asked or (not paths and not session.config and app_name(session)):
        application = load_application(session)
    trees = list(paths) or (list(application.orchestration.settings.config) if application else _default_trees())
    try:
        registry = load_registry(trees)
    except DefinitionsError as error:
        context.exit(_refuse(session, error.problems))
    problems = try_loading(registry)
    if problems:
        context.exit(_refuse(session, problems, registry))
    tasks = unknown_tasks(application.app, registry) if application else []
    warnings = [*registry.warnings, *unknown_targets(registry), *tasks]
    findings = find_breaks(application, entry=entry) if application is not None and against_running else None
    if session.json:
        print_json(_facts(registry, (), warnings) | ({"running": findings.facts()} if findings else {}))
        context.exit(Exit.FAILED if findings and findings.breaks else Exit.OK)
    for warning in warnings:
        note(f"warning: {warning}")
    called = 0 if application else sum(entry.task is not None for entry in registry.of(FunctionCelery))
    if called:
        noted = "the Celery task of 1 entry was" if called == 1 else f"the Celery tasks of {called} entries were"
        note(f"note: {noted} not looked for: there is no celery_app.py here; name your application with -A")
    if not quiet:
        _print_entries(registry)
    told = f", {len(warnings)} warning{'s'[: len(warnings) != 1]}" if warnings else ""
    count = f"{len(registry)} {'entry' if len(registry) == 1 else 'entries'}"
    say(f"{count} in {', '.join(map(_near, trees))}: no problems{told}")
    if findings is None:
        return
    if findings.breaks:
        note("error: " + "\n".join(findings.lines()))
        context.exit(Exit.FAILED)
    say(findings.summary())


def _default_trees() -> list[str]:
    named = [path for path in os.environ.get("ORCHESTRATION_CONFIG", "").split(os.pathsep) if path]
    return named or ["config"]


def _refuse(session: Session, problems: tuple[Problem, ...] | list[Problem], registry: Registry | None = None) -> Exit:
    if session.json:
        print_json(_facts(registry, problems, registry.warnings if registry else ()))
    else:
        for problem in problems:
            note(str(problem))
        count = len(problems)
        note(f"error: {count} problem{'s'[: count != 1]} in the definitions; nothing was loaded")
    return Exit.FAILED


def _facts(registry: Registry | None, problems: Any, warnings: Any) -> dict[str, Any]:
    return {
        "problems": [dataclasses.asdict(problem) for problem in problems],
        "warnings": [dataclasses.asdict(warning) for warning in warnings],
        "entries": [
            {"id": entry.id, "kind": entry.kind, "queue": _queue(registry, entry.id), "file": entry.location.file,
             "line": entry.location.line}
            for entry in (registry.entries if registry else ())
        ],
    }  # fmt: skip


def _queue(registry: Registry | None, entry_id: str) -> str | None:
    return registry.task_queue(entry_id) if registry else None


def _print_entries(registry: Registry) -> None:
    if not registry.entries:
        say("there are no entries yet; docs/quickstart.md shows a first one")
        return
    rows = [
        [
            entry.id, entry.kind, _queue(registry, entry.id) or "",
            f"{_near(entry.location.file)}:{entry.location.line}",
        ]
        for entry in registry.entries
    ]  # fmt: skip
    show_rows(["entry", "kind", "queue", "defined at"], rows, below=("kind", "queue", "defined at"))


def _near(path: str) -> str:
    """A path as seen from here, if it is below."""
    near = os.path.relpath(path)
    return path if near.startswith(os.pardir) else near
