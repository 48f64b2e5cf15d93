"""The options ``--actor`` and ``--scope``: in whose name something is started or called."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestration.cli.exits import CliError

if TYPE_CHECKING:
    from orchestration.cli.application import Application
    from orchestration.client import Actor

__all__ = ["identity_options", "read_identity"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def identity_options(command: _Command) -> _Command:
    """Give a command the two options; they arrive as the keyword arguments of :func:`read_identity`."""
    options = (
        click.option(
            "--actor", metavar="ID", help='In whose name; with more about it as JSON: \'{"id": "ann", "meta": {}}\'.'
        ),
        click.option(
            "--scope", multiple=True, metavar="ID", help="A policy or group of policies that says what it may do."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def read_identity(application: Application, *, actor: str | None, scope: tuple[str, ...]) -> dict[str, Any]:
    """The options as arguments of a start or call.

    Raises:
        CliError: The actor cannot be read, or there is no such policy.
    """
    if scope:
        try:
            application.orchestration.registry.policies.ids_of(scope)
        except ValueError as error:
            raise CliError(f"--scope: {error}") from error
    return {"actor": None if actor is None else _actor(actor), "scope": list(scope) or None}


def _actor(text: str) -> Actor:
    from orchestration.client import Actor

    try:
        if not text.startswith("{"):
            return Actor(text)
        fields = json.loads(text)
        if set(fields) <= {"id", "meta"} and "id" in fields:
            return Actor(fields["id"], fields.get("meta") or {})
    except (TypeError, ValueError) as error:
        raise CliError(f"--actor {text!r:.100}: {error}") from error
    raise CliError(f'--actor takes an id, or JSON such as \'{{"id": "ann", "meta": {{}}}}\', not {text!r:.100}')
