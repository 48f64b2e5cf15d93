"""``orchestration services start``, ``stop``, ``restart`` and ``forget``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestration.cli.application import load_application
from orchestration.cli.commands import command
from orchestration.cli.completion import complete_services
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.output import print_json, say
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.values import SECONDS

if TYPE_CHECKING:
    from orchestration.client import Client

__all__ = ["forget", "restart", "start", "stop"]

_TIMEOUT = click.option(
    "--timeout", type=SECONDS, metavar="TIME", help="Wait until it is so, at most this long. Default: do not wait."
)


@command(short_help="let a service run from now on")
@click.argument("service_id", metavar="ID", shell_complete=complete_services)
@_TIMEOUT
@shared_options
@click.pass_context
def start(context: click.Context, service_id: str, timeout: float | None) -> None:
    """Let a service run from now on: one that was stopped, has given up, or does not start by itself.

    \b
    Example:
      orchestration services start app:mailer --timeout 30s

    \b
    Next:
      orchestration services                 where it stands
    """
    _client(context).start_service(service_id, wait=timeout is not None, timeout=timeout)
    _done(context, service_id, "runs" if timeout is not None else "is to run")


@command(short_help="keep a service stopped from now on")
@click.argument("service_id", metavar="ID", shell_complete=complete_services)
@_TIMEOUT
@shared_options
@click.pass_context
def stop(context: click.Context, service_id: str, timeout: float | None) -> None:
    """Stop a service, and keep it stopped until it is started again, whatever becomes of the workers.

    \b
    Example:
      orchestration services stop app:mailer

    \b
    Next:
      orchestration services start app:mailer   let it run again
    """
    _client(context).stop_service(service_id, wait=timeout is not None, timeout=timeout)
    _done(context, service_id, "is stopped" if timeout is not None else "is to stop")


@command(short_help="stop a service and start it")
@click.argument("service_id", metavar="ID", shell_complete=complete_services)
@_TIMEOUT
@shared_options
@click.pass_context
def restart(context: click.Context, service_id: str, timeout: float | None) -> None:
    """Stop a service, if it runs, and start it; one that has given up or ended is started too.

    \b
    Example:
      orchestration services restart app:mailer

    \b
    Next:
      orchestration services                 where it stands
    """
    _client(context).restart_service(service_id, wait=timeout is not None, timeout=timeout)
    _done(context, service_id, "runs again" if timeout is not None else "is to start again")


@command(short_help="remove what is kept of a service")
@click.argument("service_id", metavar="ID", shell_complete=complete_services)
@shared_options
@click.pass_context
def forget(context: click.Context, service_id: str) -> None:
    """Remove what is kept of a service that nobody looks after, and what operators wanted of it.

    \b
    Example:
      orchestration services forget app:mailer

    \b
    Next:
      orchestration services                 those that are left
    """
    if not _client(context).forget_service(service_id):
        raise CliError(f"{service_id}: a worker looks after it; stop it first", Exit.REFUSED)
    if session_of(context).json:
        print_json({"id": service_id, "done": context.info_name})
    else:
        say(f"{service_id} is forgotten")


def _client(context: click.Context) -> Client:
    return load_application(session_of(context)).client()


def _done(context: click.Context, service_id: str, said: str) -> None:
    if session_of(context).json:
        print_json({"id": service_id, "done": context.info_name})
    else:
        say(f"{service_id} {said}; `orchestration services` shows where it stands")
