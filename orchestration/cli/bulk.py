"""What commands share that act on one run, on several, or on all that are like that."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestration.cli.application import Application, load_application
from orchestration.cli.completion import complete_workflows
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.output import note, print_json, say, wrapped
from orchestration.cli.progress import progress_bar
from orchestration.cli.session import session_of
from orchestration.cli.values import as_json
from orchestration.cli.where import WHERE
from orchestration.errors import OrchestrationError, StoreUnavailableError

if TYPE_CHECKING:
    from orchestration.client import Condition, WorkflowHandle

__all__ = ["STATUSES", "Bulk", "Rate", "act_on_runs", "bulk_options"]

STATUSES = (
    "open", "closed", "running", "paused", "parked", "completed", "failed", "cancelled", "terminated", "timed_out",
    "continued_as_new",
)  # fmt: skip

_Command = TypeVar("_Command", bound=Callable[..., Any])
Act = Callable[["WorkflowHandle"], "dict[str, Any] | None"]
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Rate(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click alone
    """How often something may be done: ``10/s``, ``100/m`` or ``500/h``; in times a second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        count, slash, unit = str(value).partition("/")
        try:
            number = float(count)
        except ValueError:
            number = 0.0
        if number <= 0 or number == float("inf") or (slash and unit not in _UNITS):
            self.fail(f"{value!r} is no rate; write it as 10/s, 100/m or 500/h", param, ctx)
        return number / _UNITS[unit or "s"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """Which runs a command is about, and how fast.

    Attributes:
        ids: Workflow ids, as given.
        run_id: One run of the one id.
        all: Every run that the filters find.
        status: Filter.
        type: Filter, an entry id.
        where: Filter, conditions.
        rate: Most of them in a second; None: as fast as it goes.
        dry_run: Only say which ones.
    """

    ids: tuple[str, ...]
    run_id: str | None
    all: bool
    status: str | None
    type: str | None
    where: list[Condition] | None
    rate: float | None
    dry_run: bool

    @property
    def is_single(self) -> bool:
        """Whether it is about the one run that was named."""
        return len(self.ids) == 1 and not self.dry_run


def bulk_options(command: _Command) -> _Command:
    """Give a command the argument and options of :class:`Bulk`."""
    options = (
        click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=complete_workflows),
        click.option("--run", "run_id", metavar="RUN_ID", help="One run of the ID. Default: the latest."),
        click.option("--all", is_flag=True, help="Instead of IDs: every run that the filters find."),
        click.option("--status", "-s", type=click.Choice(STATUSES), metavar="STATUS", help="With --all: only these."),
        click.option("--type", "-t", metavar="ENTRY", help="With --all: only runs of this entry."),
        click.option("--where", "-w", type=WHERE, metavar="TEXT", help="With --all: only these, as for `list`."),
        click.option("--rate", type=Rate(), metavar="RATE", help="Most runs in a time, as 10/s or 100/m."),
        click.option("--dry-run", is_flag=True, help="Say which runs it would be, change nothing."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def act_on_runs(
    context: click.Context, act: Act, *, done: str, would: str, default_status: str, rehearse: Act | None = None,
    **given: Any,
) -> None:  # fmt: skip
    """Do something to the runs that a command is about, and say what became of each.

    One run that was named by its id is answered as it always was: one line or object, or the error. Of several, each is
    answered on a line; a failing one does not keep the others from being done, and makes the exit code 1.

    Args:
        context: Of the command.
        act: Does it; may answer more facts for ``--json``.
        done: What has been done, with ``{id}`` and the facts.
        would: What would be done, with ``{id}`` and the facts.
        default_status: With ``--all`` and no ``--status``: only these; empty: without a filter it is refused.
        rehearse: Called with ``--dry-run``; may answer facts too.
        given: The values of the options of :func:`bulk_options`.
    """
    bulk = Bulk(**given)
    _check(bulk)
    if bulk.all and not (default_status or bulk.status or bulk.type or bulk.where):
        raise CliError("--all needs --status, --type or --where here; to mean every open run, say --status open")
    session = session_of(context)
    application = load_application(session)
    if bulk.is_single:
        handle = application.find(bulk.ids[0], bulk.run_id)
        facts = act(handle) or {}
        if session.json:
            print_json({"id": handle.id, "run_id": handle.run_id, "status": handle.describe().status, **facts})
        else:
            say(done.format(id=handle.id, **facts))
        return
    count = failed = 0
    status = bulk.status or default_status or "open"
    next_at = time.monotonic()
    total = _count(application, bulk, status)
    with progress_bar(total, str(context.info_name)) as (advance, write):
        for line, find in _runs(application, bulk, status):
            count += 1
            try:
                handle = find()
                if bulk.rate:
                    time.sleep(max(next_at - time.monotonic(), 0))
                    next_at = max(next_at, time.monotonic() - 1) + 1 / bulk.rate
                perform = rehearse if bulk.dry_run else act
                line.update((perform(handle) if perform else None) or {})
            except StoreUnavailableError:
                raise
            except (CliError, OrchestrationError, ValueError) as error:
                failed += 1
                line["error"] = str(error)
            if session.json:
                write(as_json({**line, **({"dry_run": True} if bulk.dry_run else {})}))
            elif "error" in line:
                where = "" if line["id"] in line["error"] else f"{line['id']}: "
                note(f"error: {where}{line['error']}")
            else:
                write(wrapped((would if bulk.dry_run else done).format(**line), sys.stdout))
            advance()
    if not session.json:
        note(_summary(bulk, count, failed))
    if failed:
        context.exit(Exit.FAILED)


def _check(bulk: Bulk) -> None:
    if bulk.all and bulk.ids:
        raise CliError("give IDs or --all, not both")
    if not bulk.all and not bulk.ids:
        raise CliError("name the runs: an ID, several, or --all with --status, --type or --where")
    if not bulk.all and (bulk.status or bulk.type or bulk.where):
        raise CliError("--status, --type and --where choose among --all runs: give --all with them")
    if bulk.run_id and len(bulk.ids) != 1:
        raise CliError("--run is one run of one ID")


def _count(application: Application, bulk: Bulk, status: str) -> int:
    """How many runs it will be about."""
    if not bulk.all:
        return len(bulk.ids)
    total = 0
    for namespace in application.namespaces():
        client = application.client(namespace)
        total += sum(client.count_workflows(bulk.where, by="status", status=status, type=bulk.type).values())
    return total


def _runs(
    application: Application, bulk: Bulk, status: str
) -> Iterator[tuple[dict[str, Any], Callable[[], WorkflowHandle]]]:
    """The runs one by one, those of the filters read page by page: what is known of each, and how to get hold of it."""
    if not bulk.all:
        for workflow_id in bulk.ids:
            yield {"id": workflow_id}, partial(application.find, workflow_id, bulk.run_id)
        return
    for namespace in application.namespaces():
        client = application.client(namespace)
        for seen in client.each_workflow(bulk.where, status=status, type=bulk.type):
            facts = {"id": seen.workflow_id, "run_id": seen.run_id}
            yield facts, partial(client.get_workflow, seen.workflow_id, seen.run_id)


def _summary(bulk: Bulk, count: int, failed: int) -> str:
    runs = f"{count} run{'s'[: count != 1]}"
    if bulk.dry_run:
        return f"{runs}; nothing was changed"
    return runs + (f", {failed} of them not done" if failed else "")
