"""The options that say what a schedule is, of ``create`` and of ``update``; and how schedules are found."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestration.cli.exits import CliError
from orchestration.cli.values import JSON, SECONDS, Parsed
from orchestration.core.schedule import OVERLAPS, ScheduleAction, SchedulePolicy, ScheduleSpec
from orchestration.errors import PayloadError, ScheduleNotFoundError

if TYPE_CHECKING:
    from orchestration.cli.application import Application
    from orchestration.client import ScheduleHandle

__all__ = ["OVERLAP", "TIME", "action_of", "definition_options", "find_schedule", "policy_of", "spec_of"]

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Part = TypeVar("_Part", ScheduleSpec, ScheduleAction, SchedulePolicy)

OVERLAP: Final = click.Choice(OVERLAPS)


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click alone
    """A date, which is its first moment in UTC, or a time with its zone: ``2026-03-01``, ``2026-03-01T09:00+01:00``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        """Read the value of an option or argument."""
        if isinstance(value, dt.datetime):
            return value
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: give a date, or as in 2026-03-01T09:00+01:00", param, ctx)
        if moment.tzinfo is None:
            if len(value) > len("2026-03-01"):
                self.fail(f"{value!r} has no time zone: add Z for UTC, or an offset such as +01:00", param, ctx)
            moment = moment.replace(tzinfo=dt.UTC)
        return moment


TIME: Final = Moment()


def definition_options(command: _Command) -> _Command:
    """Give a command the options of a definition; those that are not given arrive as None or empty."""
    options = (
        click.option(
            "--cron", multiple=True, metavar="EXPR",
            help="Minute, hour, day of month, month, day of week; six fields with seconds in front; or @daily and so "
            "on. May be repeated.",
        ),
        click.option("--zone", metavar="ZONE", help="Time zone of the cron expressions. Default: UTC."),
        click.option("--every", type=SECONDS, metavar="TIME", help="Interval, as 30m; at multiples since 1970 in UTC."),
        click.option("--offset", type=SECONDS, metavar="TIME", help="Shifts the interval."),
        click.option("--jitter", type=SECONDS, metavar="TIME", help="Each time is put off by up to this much."),
        click.option("--start-at", type=TIME, metavar="TIME", help="No times before this one."),
        click.option("--end-at", type=TIME, metavar="TIME", help="No times after this one."),
        click.option("--max-actions", type=int, metavar="N", help="Stop after so many starts."),
        click.option(
            "--input", "-i", "inputs", type=JSON, multiple=True, metavar="JSON",
            help="An argument of the workflow, as JSON, @FILE or - for standard input. Once for each argument.",
        ),
        click.option("--id-prefix", metavar="TEXT", help="Runs are called <prefix>-<time>. Default: the id."),
        click.option("--queue", metavar="NAME", help="Another task queue than the entry's."),
        click.option("--run-timeout", type=SECONDS, metavar="TIME", help="A run is ended after this, as 1h30m."),
        click.option(
            "--context", "values", type=JSON, metavar="JSON", help="Context values, a JSON object; ctx in Lua."
        ),
        click.option("--search", type=JSON, metavar="JSON", help="Search attributes of the runs, a JSON object."),
        click.option("--memo", type=JSON, metavar="JSON", help="What else is shown of the runs, a JSON object."),
        click.option(
            "--overlap", type=OVERLAP, metavar="POLICY",
            help=f"When it is due and a run of it is open: {', '.join(OVERLAPS)}. Default: skip.",
        ),
        click.option(
            "--catchup-window", type=SECONDS, metavar="TIME",
            help="Times missed in an outage are made good if they are not older. Default: 1h.",
        ),
        click.option("--pause-on-failure/--no-pause-on-failure", default=None, help="Pause when a run of it fails."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def spec_of(before: ScheduleSpec | None, given: dict[str, Any]) -> ScheduleSpec | None:
    """The spec that options come to; None when they say nothing new.

    Args:
        before: What is to be changed; None makes a new one. New times take the place of all the old ones.
        given: Options of :func:`definition_options`.

    Raises:
        CliError: They cannot be right.
    """
    found: dict[str, Any] = {}
    if given["cron"] or given["every"] is not None:
        found = {"cron": given["cron"], "interval": _span(given["every"]), "offset": dt.timedelta()}
    if given["zone"] is not None:
        found["time_zone"] = given["zone"]
    for name in ("offset", "jitter"):
        if given[name] is not None:
            found[name] = _span(given[name])
    found |= {name: given[name] for name in ("start_at", "end_at", "max_actions") if given[name] is not None}
    return _made(ScheduleSpec, before, found)


def action_of(before: ScheduleAction | None, entry: str | None, given: dict[str, Any]) -> ScheduleAction | None:
    """The action that options come to; None when they say nothing new.

    Raises:
        CliError: They cannot be right.
    """
    found: dict[str, Any] = {"workflow_type": entry} if entry is not None else {}
    if given["inputs"]:
        found["args"] = [item.value for item in given["inputs"]]
    for option, name in (("id_prefix", "workflow_id_prefix"), ("queue", "task_queue")):
        if given[option] is not None:
            found[name] = given[option]
    if given["run_timeout"] is not None:
        found["run_timeout"] = _span(given["run_timeout"])
    for option, name in (("values", "context"), ("search", "search"), ("memo", "memo")):
        if given[option] is not None:
            found[name] = _mapping(f"--{name}", given[option])
    return _made(ScheduleAction, before, found)


def policy_of(before: SchedulePolicy | None, given: dict[str, Any]) -> SchedulePolicy | None:
    """The policy that options come to; None when they say nothing new.

    Raises:
        CliError: They cannot be right.
    """
    found: dict[str, Any] = {}
    if given["overlap"] is not None:
        found["overlap"] = given["overlap"]
    if given["catchup_window"] is not None:
        found["catchup_window"] = _span(given["catchup_window"])
    if given["pause_on_failure"] is not None:
        found["pause_on_failure"] = given["pause_on_failure"]
    return _made(SchedulePolicy, before, found)


def _made(kind: Callable[..., _Part], before: _Part | None, found: dict[str, Any]) -> _Part | None:
    if before is not None and not found:
        return None
    try:
        return kind(**found) if before is None else replace(before, **found)
    except (ValueError, PayloadError) as error:
        raise CliError(str(error).replace("`cron` or `interval`", "--cron or --every")) from error


def _mapping(option: str, given: Parsed) -> dict[str, Any]:
    if not isinstance(given.value, dict):
        raise CliError(f"{option} takes a JSON object such as '{{\"user\": \"ana\"}}', not {given.value!r}")
    return given.value


def _span(seconds: float | None) -> dt.timedelta | None:
    return None if seconds is None else dt.timedelta(seconds=seconds)


def find_schedule(application: Application, schedule_id: str) -> ScheduleHandle:
    """Handle of a schedule that exists.

    Raises:
        ScheduleNotFoundError: There is none in any namespace.
    """
    for namespace in application.namespaces():
        handle = application.client(namespace).get_schedule(schedule_id)
        try:
            handle.describe()
        except ScheduleNotFoundError:
            continue
        return handle
    raise ScheduleNotFoundError(schedule_id)
