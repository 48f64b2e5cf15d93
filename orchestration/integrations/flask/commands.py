"""``flask workflow ...``: the commands of ``orchestration``, on the application's own workflows."""

from __future__ import annotations

import click
from flask.cli import ScriptInfo

from orchestration.cli.group import Commands, add_commands
from orchestration.cli.session import session_of, shared_options

__all__ = ["workflow"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@shared_options
@click.pass_context
def workflow(context: click.Context) -> None:
    """Durable workflows of this application: start them, watch them, speak to them.

    \b
    Example:
      flask workflow list --status open
    """
    session_of(context).loaded_app = context.ensure_object(ScriptInfo).load_app().extensions["celery"]


add_commands(workflow)
