"""``celery -A app workflow ...``: the same commands, on the application that Celery has loaded."""

from __future__ import annotations

import click

from orchestration.cli.group import SECTIONS, Commands, add_commands
from orchestration.cli.session import session_of, shared_options

__all__ = ["workflow"]


@click.group(
    cls=Commands, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@shared_options
@click.pass_context
def workflow(context: click.Context) -> None:
    """Durable workflows: start them, watch them, speak to them.

    \b
    Example:
      celery -A celery_app workflow list --status open
    """
    app = getattr(context.obj, "app", None)
    if app is not None and app.main != "default":  # without -A, Celery hands over an application of its own
        session_of(context).loaded_app = app


add_commands(workflow)
