"""Options that choose among runs, the same for `list`, `count` and what acts on several runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestration.cli.bulk import STATUSES
from orchestration.cli.values import SECONDS
from orchestration.cli.where import WHERE

if TYPE_CHECKING:
    from orchestration.client.listing import Filters

__all__ = ["filter_options", "filters_of"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Moment(click.ParamType):  # type: ignore[type-arg]  # generic in new releases of click alone
    """A time: ISO 8601, or how long ago, as ``2h``."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:
            pass
        try:
            return dt.timedelta(seconds=SECONDS.convert(value, param, ctx))
        except (click.BadParameter, OverflowError):
            self.fail(f"{value!r} is no time; write 2024-05-01, 2024-05-01T10:00:00Z, or an age, 2h", param, ctx)


_MOMENT: Final = _Moment()


def filter_options(command: _Command) -> _Command:
    """Give a command the options of :class:`~orchestration.client.listing.Filters`, and ``--where``."""
    options = (
        click.option(
            "--status", "-s", type=click.Choice(STATUSES), metavar="STATUS", help=f"Only these: {', '.join(STATUSES)}."
        ),
        click.option("--type", "-t", metavar="ENTRY", help="Only runs of this entry."),
        click.option("--id-prefix", metavar="TEXT", help="Only runs whose ID begins so."),
        click.option("--started-after", type=_MOMENT, metavar="TIME", help="A time, or an age such as 2h."),
        click.option("--started-before", type=_MOMENT, metavar="TIME", help="The same."),
        click.option("--closed-after", type=_MOMENT, metavar="TIME", help="The same, for the end of the run."),
        click.option("--closed-before", type=_MOMENT, metavar="TIME", help="The same."),
        click.option("--where", "-w", type=WHERE, metavar="TEXT", help="Conditions: amount > 100 and city = 'Rome'"),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def filters_of(given: dict[str, Any]) -> tuple[Any, Filters]:
    """Split the values of the options into conditions and filters; what has not been given is left out."""
    where = given.pop("where")
    filters: Any = {name: value for name, value in given.items() if value is not None}
    return where, filters
