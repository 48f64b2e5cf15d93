"""The command group below ``manage.py``."""

from __future__ import annotations

import click

from orchestration.cli.group import Commands, add_commands
from orchestration.cli.session import session_of, shared_options

__all__ = ["workflow"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@shared_options
@click.pass_context
def workflow(context: click.Context) -> None:
    """Durable workflows of this project: start them, watch them, speak to them.

    \b
    Example:
      manage.py workflow list --status open
    """
    session_of(context).loaded_app = context.obj


add_commands(workflow)
