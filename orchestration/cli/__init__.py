"""The command line: ``orchestration ...``, and the same commands as ``celery -A app workflow ...``."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the console script; ends the process with one of the exit codes of :class:`orchestration.cli.exits.Exit`."""
    from orchestration.cli.group import orchestration

    orchestration.main(prog_name="orchestration")
