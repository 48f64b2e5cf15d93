"""``orchestration completion``: what a shell needs to complete commands, options and ids."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem, get_completion_class

from orchestration.cli.application import Application, load_application
from orchestration.cli.commands import command
from orchestration.cli.output import print_json
from orchestration.cli.session import Session, session_of, shared_options

if TYPE_CHECKING:
    from orchestration.client import Description

__all__ = [
    "complete_entries", "complete_schedules", "complete_services", "complete_workflows", "completion",
    "workflow_argument",
]  # fmt: skip

PROGRAM: Final = "orchestration"
VARIABLE: Final = "_ORCHESTRATION_COMPLETE"
_PATIENCE_S: Final = 0.5
_MOST: Final = 50
_Command = TypeVar("_Command", bound=Callable[..., Any])

_HOW: Final = {
    "bash": 'eval "$(orchestration completion bash)"      # in ~/.bashrc',
    "zsh": 'eval "$(orchestration completion zsh)"       # in ~/.zshrc',
    "fish": "orchestration completion fish | source      # in ~/.config/fish/config.fish",
}


@command(short_help="completion of commands and ids in your shell")
@click.argument("shell", type=click.Choice(sorted(_HOW)))
@shared_options
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options, and the ids that there are.

    Ids of workflows, schedules and services are asked of Redis, and left out when it does not answer at once; ids of
    entries are those of the definitions.

    \b
    Examples:
      eval "$(orchestration completion bash)"
      eval "$(orchestration completion zsh)"
      orchestration completion fish | source

    \b
    Next: put that line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish
    """
    made = get_completion_class(shell)
    assert made is not None  # one of click's own
    script = made(context.find_root().command, {}, PROGRAM, VARIABLE)
    text = script.source_template % script.source_vars()  # without the check of bash's version, which runs bash
    if shell == "bash":  # else it takes the colon in an id for the end of a word
        text = f"COMP_WORDBREAKS=${{COMP_WORDBREAKS//:}}\n{text}"
    if session_of(context).json:
        print_json({"shell": shell, "script": text, "install": _HOW[shell]})
    else:
        click.echo(f"# {_HOW[shell]}\n{text}")


def workflow_argument(command: _Command) -> _Command:
    """Give a command the argument ``workflow_id``, which a shell completes."""
    return click.argument("workflow_id", metavar="ID", shell_complete=complete_workflows)(command)


def complete_workflows(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of workflows, the latest first."""

    def find(application: Application) -> Iterable[tuple[str, str]]:
        found: list[Description] = []
        for namespace in application.namespaces():
            found += application.client(namespace).list_workflows(id_prefix=incomplete or None, limit=_MOST)
        found.sort(key=lambda seen: -seen.started_ms)
        return ((seen.workflow_id, f"{seen.type} {seen.status}") for seen in found)

    return _complete(context, incomplete, find)


def complete_entries(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of what can be started or called."""

    def find(application: Application) -> Iterable[tuple[str, str]]:
        entries = application.orchestration.registry.entries
        return ((entry.id, entry.kind) for entry in entries if entry.kind.startswith(("workflow.", "function.")))

    return _complete(context, incomplete, find)


def complete_schedules(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of schedules."""

    def find(application: Application) -> Iterable[tuple[str, str]]:
        for namespace in application.namespaces():
            for seen in application.client(namespace).list_schedules(prefix=incomplete, limit=_MOST):
                yield seen.id, seen.action.workflow_type

    return _complete(context, incomplete, find)


def complete_services(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of services."""

    def find(application: Application) -> Iterable[tuple[str, str]]:
        return ((seen.id, seen.state) for seen in application.client().list_services())

    return _complete(context, incomplete, find)


def _complete(
    context: click.Context, incomplete: str, find: Callable[[Application], Iterable[tuple[str, str]]]
) -> list[CompletionItem]:
    """What is found and begins so; nothing when it cannot be known now: somebody is typing."""
    given = session_of(context)
    session = Session(app=given.app, loaded_app=given.loaded_app, config=given.config, namespace=given.namespace)
    session.wait = _PATIENCE_S
    logging.disable(logging.CRITICAL)
    with contextlib.suppress(Exception):
        found = find(load_application(session, may_build=True))
        return [CompletionItem(name, help=text) for name, text in found if name.startswith(incomplete)][:_MOST]
    return []
