"""What the options that every command takes come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import click

from orchestration.cli.values import SECONDS

__all__ = ["Session", "SharedOption", "session_of", "shared_options"]

_KEY: Final = "orchestration.cli"
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Session:
    """One call of the command line.

    Attributes:
        app: Name of the application, as ``celery -A`` takes it.
        loaded_app: The Celery application, when ``celery`` has loaded it already.
        config: Trees of definitions that replace the application's.
        wait: Seconds to wait for a Redis that does not answer; None: the setting ``start_timeout``.
        namespace: Of the workflows; None: every one that the definitions use.
        json: Print for machines.
        debug: Print tracebacks and logs.
    """

    app: str | None = None
    loaded_app: Any = None
    config: tuple[str, ...] = ()
    wait: float | None = None
    namespace: str | None = None
    json: bool = False
    debug: bool = False


class SharedOption(click.Option):
    """An option that every command takes."""


def session_of(context: click.Context) -> Session:
    """The session that a command belongs to."""
    return cast("Session", context.meta.setdefault(_KEY, Session()))


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Options stand before or after the name of the command; the later one wins."""
    if value is not None and value is not False and value != () and option.name:
        setattr(session_of(context), option.name, value)


def shared_options(command: _Command) -> _Command:
    """Give a command the options of :class:`Session`."""
    facts: dict[str, Any] = {"expose_value": False, "callback": _keep, "cls": SharedOption}
    options = (
        click.option(
            "-A", "--app", metavar="APP",
            help="Celery application, as for `celery -A`. Default: $ORCHESTRATION_APP, else celery_app of this folder.",
            **facts,
        ),
        click.option(
            "--config", metavar="PATH", multiple=True,
            help="Folder or file of definitions, instead of the application's. May be repeated.", **facts,
        ),
        click.option("-n", "--namespace", metavar="NAME", help="Namespace of the workflows. Default: all.", **facts),
        click.option(
            "--wait", type=SECONDS, metavar="TIME", help="How long to wait for a Redis that does not answer, as 5s.",
            **facts,
        ),
        click.option("--json", is_flag=True, help="Print JSON, for programs.", **facts),
        click.option("--debug", is_flag=True, help="Print logs and tracebacks.", **facts),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
