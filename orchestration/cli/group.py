"""The group of commands, once for the console script and once below ``celery``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from orchestration.cli.activity import activity
from orchestration.cli.audit import audit
from orchestration.cli.call import call
from orchestration.cli.cancel import cancel
from orchestration.cli.check import check
from orchestration.cli.commands import Commands
from orchestration.cli.completion import completion
from orchestration.cli.count import count
from orchestration.cli.dev import dev
from orchestration.cli.doctor import doctor
from orchestration.cli.fork import fork
from orchestration.cli.graph import graph
from orchestration.cli.history import history
from orchestration.cli.list_runs import list_runs
from orchestration.cli.metrics import metrics
from orchestration.cli.pause import pause
from orchestration.cli.processes import processes
from orchestration.cli.query import query
from orchestration.cli.reset import reset
from orchestration.cli.result import result
from orchestration.cli.resume import resume
from orchestration.cli.retry import retry
from orchestration.cli.run import run
from orchestration.cli.schedules import schedule
from orchestration.cli.send import send
from orchestration.cli.services import services
from orchestration.cli.session import shared_options
from orchestration.cli.show import show
from orchestration.cli.signal_run import signal_run
from orchestration.cli.start import start
from orchestration.cli.terminate import terminate
from orchestration.cli.timeline import timeline
from orchestration.cli.update import update
from orchestration.cli.upgrade import upgrade

__all__ = ["SECTIONS", "Commands", "add_commands", "orchestration"]


SECTIONS = {
    "Develop": ("run", "dev", "check"),
    "Start, and speak to it": ("start", "result", "signal", "query", "update", "call", "send", "activity"),
    "Look": ("list", "count", "show", "timeline", "graph", "history"),
    "Step in": ("cancel", "terminate", "pause", "resume", "retry", "upgrade", "reset", "fork"),
    "Operate": ("doctor", "audit", "metrics", "schedule", "services", "processes"),
    "Set up": ("completion",),
}
"""Headings of the help, and the commands below each."""


def add_commands(group: click.Group) -> None:
    """Put every command into a group."""
    for command in (
        run, dev, check, start, list_runs, count, show, timeline, graph, history, signal_run, query, update, result,
        cancel, terminate, pause, resume, retry, upgrade, reset, fork, call, activity, schedule, processes, send,
        services, doctor, audit, metrics, completion,
    ):  # fmt: skip
        group.add_command(command)


def _version() -> str:
    try:
        return version("celery-orchestration")
    except PackageNotFoundError:
        return "unknown"


@click.group(
    cls=Commands, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(_version(), "--version", prog_name="orchestration")
@shared_options
def orchestration() -> None:
    """Durable workflows for Celery: start them, watch them, speak to them.

    \b
    Begin in a folder with definitions in config/:
      orchestration check                         what is wrong with them
      orchestration run app:hello -i '"Ana"'      run one, with a Redis of its own
      orchestration dev                           Redis and a worker, until Ctrl-C

    \b
    Exit codes: 0 done, 1 the run failed or problems were found, 2 wrong usage,
    3 not found, 4 Redis away, 5 timeout, 6 refused, 130 Ctrl-C.
    """


add_commands(orchestration)
