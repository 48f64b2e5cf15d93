"""``orchestration doctor``: is the deployment sound?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.application import Application, load_application
from orchestration.cli.commands import command
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.output import note, print_json, show, table
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import SECONDS

if TYPE_CHECKING:
    from orchestration.health.findings import Finding

__all__ = ["doctor"]

_SEVERITY_WIDTH = 7
_STYLE = {"ok": "green", "notice": "cyan", "warning": "bold yellow", "error": "bold red"}


def _complete(_context: click.Context, _option: click.Parameter, begun: str) -> list[str]:
    from orchestration.health.doctor import check_names

    return [name for name in check_names() if name.startswith(begun)]


@command(short_help="is the deployment sound? each finding with its cure")
@click.option(
    "--only", "-o", multiple=True, metavar="CHECK", shell_complete=_complete, help="Only this check; may be repeated."
)
@click.option("--list", "is_listing", is_flag=True, help="Name the checks, make none.")
@click.option("--quiet", "-q", is_flag=True, help="Leave out what is well.")
@click.option(
    "--timeout", type=SECONDS, default=8.0, metavar="TIME", show_default="8s",
    help="How long workers have to answer; a check may take twice as long.",
)  # fmt: skip
@shared_options
@click.pass_context
def doctor(context: click.Context, only: tuple[str, ...], is_listing: bool, quiet: bool, timeout: float) -> None:
    """Look at all that the deployment stands on; each finding has its cure.

    Exit code 1 when there is a warning or an error.

    Redis (version, eviction, persistence, memory, replicas), broker (visibility timeout, sockets), Celery settings,
    clocks, workers, queues that nobody reads, queues of workflows that workers without the extension read, hosts,
    services, code and runs. Nothing is changed. What cannot be looked at says why. docs/how-to/operate.md describes
    every check.

    With --json one object for each finding, each on a line.

    \b
    Examples:
      orchestration doctor
      orchestration doctor --only queue-consumers --only start-queues
      orchestration doctor --quiet --json

    \b
    Next:
      orchestration audit                    has every open run a wake source?
    """
    from orchestration.health.doctor import CHECKS, check_names

    session = session_of(context)
    for name in only:
        if name not in check_names():
            raise CliError(f"--only {name}: there is no such check; `orchestration doctor --list` names them")
    if timeout <= 0:
        raise CliError("--timeout is a time above 0")
    if is_listing:
        _list([(check.name, check.looks_at) for check in CHECKS], as_json=session.json)
        return
    found = []
    for finding in _findings(load_application(session), only, timeout):
        if not quiet or finding.severity.is_finding:
            if session.json:
                print_json(_plain(finding), pretty=False)
            else:
                _print(finding)
        found.append(finding)
    count = sum(finding.severity.is_finding for finding in found)
    if not session.json:
        checks = len({finding.check for finding in found})
        note(f"{checks} checks: {count} finding{'s'[: count != 1]}" if count else f"{checks} checks: all is well")
    if count:
        context.exit(Exit.FAILED)


def _findings(application: Application, only: tuple[str, ...], timeout: float) -> Iterator[Finding]:
    """All checks for the first namespace, those of runs for the others."""
    from orchestration.health.doctor import check_names

    first, *others = application.namespaces()
    yield from application.client(first).doctor(only, timeout=timeout)
    of_runs = [name for name in check_names(of_runs=True) if not only or name in only]
    for namespace in others if of_runs else ():
        yield from application.client(namespace).doctor(of_runs, timeout=timeout)


def _plain(finding: Finding) -> dict[str, Any]:
    return {**dataclasses.asdict(finding), "severity": finding.severity.value}


def _list(checks: list[tuple[str, str]], *, as_json: bool) -> None:
    if as_json:
        for name, looks_at in checks:
            print_json({"check": name, "looks_at": looks_at}, pretty=False)
        return
    made = table("check", "all is well when", fold="all is well when")
    for row in checks:
        made.add_row(*row)
    show(made)


def _print(finding: Finding) -> None:
    """One finding as soon as it is made: a check may take seconds."""
    from rich.table import Table
    from rich.text import Text

    severity = finding.severity.value
    head = Text(f"{finding.check}  ", "bold")
    body = Text(f"{finding.subject}: " if finding.subject else "") + Text(finding.message)
    rows = Table.grid(padding=(0, 1, 0, 0))
    rows.add_column(width=_SEVERITY_WIDTH)
    rows.add_column(overflow="fold")
    rows.add_row(Text(severity, _STYLE[severity]), head + body)
    if finding.cure and finding.severity.value != "ok":
        rows.add_row("", Text("cure: ", "bold") + Text(finding.cure))
    if finding.severity.is_finding:
        rows.add_row("", Text(finding.anchor, "dim"))
    show(rows)
