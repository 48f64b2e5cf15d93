"""``celery -A app workflow ...``: the same commands, on the application that Celery has loaded."""

from __future__ import annotations

from typing import Any

import click

from orchestration.cli.commands import Commands
from orchestration.cli.session import session_of, shared_options

__all__ = ["workflow"]


class _WhenAsked(Commands):
    """Has its commands from the first time that it is asked for one: every ``celery ...`` imports this module."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line."""
        if not self.commands:
            from orchestration.cli.group import SECTIONS, add_commands

            add_commands(self)
            self.sections = dict(SECTIONS)
        return super().make_context(info_name, args, parent, **extra)


@click.group(cls=_WhenAsked, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
