"""Groups of commands: their order, their errors, and what is close to a word that is none of them."""

from __future__ import annotations

import difflib
from typing import Any

import click

from orchestration.cli.exits import report
from orchestration.cli.session import session_of

__all__ = ["Commands"]


class Commands(click.Group):
    """Commands in the order in which people meet them; errors as one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; a name that is none is told what is close to it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], list(self.commands), n=2)
            if close:
                text = f"there is no command {args[0]!r}: did you mean {' or '.join(map(repr, close))}?"
                raise click.UsageError(text, ctx) from error
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, it is told and has a code
            shown = KeyboardInterrupt() if isinstance(error, click.Abort) else error
            session = session_of(ctx)
            ctx.exit(report(shown, debug=session.debug, as_json=session.json))
