"""Commands and groups of commands: how they explain themselves, their order, their errors, and words that are none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from orchestration.cli.exits import report
from orchestration.cli.session import SharedOption, session_of

__all__ = ["Command", "Commands", "command"]

_MORE: Final = "Other"


class Command(click.Command):
    """A command whose help has its own options; those of every command are on one line."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        _write_options(self, ctx, formatter)


def command(name: str | None = None, **attrs: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function, as :func:`click.command` does."""
    return click.command(name, cls=Command, **attrs)


class Commands(click.Group):
    """Commands in the order in which people meet them; errors as one line and an exit code.

    Attributes:
        sections: Headings, and the names of the commands below each; without any, all are below one.
    """

    command_class = Command

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.sections = dict(sections or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they were added."""
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, and the commands."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, below the headings of their sections."""
        sections = {
            heading: [name for name in names if name in self.commands] for heading, names in self.sections.items()
        }
        rest = [name for name in self.commands if not any(name in names for names in sections.values())]
        if rest:
            sections[_MORE if sections else "Commands"] = rest
        longest = max(map(len, self.commands), default=0)
        for heading, names in sections.items():
            room = formatter.width - longest - 6
            rows = [(name.ljust(longest), self.commands[name].get_short_help_str(room)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(rows)

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

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line; what is wrong before the name of a command is told as everything else is."""
        given = list(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            if parent is not None or isinstance(error, click.exceptions.NoArgsIsHelpError):
                raise
            raise click.exceptions.Exit(report(error, as_json="--json" in given)) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        asked = list(ctx.args)
        asked += getattr(ctx, "_protected_args", ())  # the name of the command and what follows it
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, it is told and has a code
            shown = KeyboardInterrupt() if isinstance(error, click.Abort) else error
            session = session_of(ctx)
            as_json = session.json or (isinstance(error, click.UsageError) and "--json" in asked)  # not read yet
            ctx.exit(report(shown, debug=session.debug, as_json=as_json))


def _write_options(of: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """The options of a command; the outermost group explains those of every command, the others name them."""
    own, shared = [], []
    outermost = ctx
    while outermost.parent is not None and isinstance(outermost.parent.command, Commands):
        outermost = outermost.parent
    for param in of.get_params(ctx):
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record is None:
            continue
        if isinstance(param, SharedOption) and outermost is not ctx:
            short = min(param.opts, key=len)
            shared.append(f"{short} {param.metavar}" if param.metavar else short)
        else:
            own.append(record)
    if own:
        with formatter.section("Options"):
            formatter.write_dl(own)
    if shared:
        formatter.write_paragraph()
        formatter.write_text(
            f"As every command it takes {', '.join(shared)}: `{outermost.command_path} --help` explains them."
        )
