"""``manage.py workflow ...``: the commands of ``orchestration``, on the project's own application."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

__all__ = ["Command"]


class Command(BaseCommand):
    """Hands everything behind ``workflow`` to the command group."""

    help = "Durable workflows: start them, watch them, speak to them. `manage.py workflow -h` lists the commands."
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Run a command of the group; Django's own options do not apply.

        Args:
            argv: ``manage.py``, ``workflow`` and the rest.
        """
        self._run(argv[2:], f"{argv[0].rpartition('/')[2]} {argv[1]}")

    def add_arguments(self, parser: CommandParser) -> None:
        """Everything is passed on.

        Args:
            parser: Of ``call_command``.
        """
        parser.add_argument("args", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run a command of the group from ``call_command("workflow", "list")``.

        Args:
            args: The command and its arguments.
            options: Django's, not looked at.
        """
        del options
        self._run([str(arg) for arg in args], "manage.py workflow")

    def _run(self, args: list[str], name: str) -> None:
        from orchestration.integrations.django.application import project_orchestration
        from orchestration.integrations.django.commands import workflow

        try:
            workflow.main(args, prog_name=name, standalone_mode=True, obj=project_orchestration().app)
        except SystemExit as ended:
            if ended.code:
                sys.exit(ended.code)
