"""``orchestration dev``: everything in one terminal."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import click

from orchestration.cli.application import BUILT
from orchestration.cli.children import Child, ending_on_signals
from orchestration.cli.commands import command
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.handover import hand_over_from_celery
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.stack import Stack
from orchestration.cli.watching import Changes

__all__ = ["dev"]

_COLOURS = ("cyan", "green", "magenta", "yellow")
_LOOK_S = 0.2


@command(short_help="Redis, a worker and Flower in one terminal; reloads on save")
@click.option("--pool", default="prefork", show_default=True, help="Pool of the worker: prefork, threads or solo.")
@click.option("--concurrency", "-c", default=2, show_default=True, help="Size of its pool.")
@click.option("--loglevel", default="INFO", show_default=True, help="Of the worker.")
@click.option("--data", metavar="FOLDER", help="Keep the data of the embedded Redis here. Default: gone at the end.")
@click.option(
    "--embedded/--no-embedded", default=None,
    help="Start a Redis. Default: when neither the environment nor the application names one.",
)  # fmt: skip
@click.option("--flower/--no-flower", default=None, help="Start Flower. Default: when it is installed.")
@click.option("--flower-port", default=5555, show_default=True, help="Its port on 127.0.0.1.")
@click.option(
    "--reload/--no-reload", default=True, show_default=True, help="Start the worker anew when a file has been saved."
)
@shared_options
@click.pass_context
def dev(
    context: click.Context, pool: str, concurrency: int, loglevel: str, data: str | None, embedded: bool | None,
    flower: bool | None, flower_port: int, reload: bool,
) -> None:  # fmt: skip
    """Run Redis, a worker and Flower in this terminal, until Ctrl-C.

    The first lines say how other terminals reach them. Where a Redis is configured it is used, and left as it is.

    When a definition, its Lua or a Python file below this folder is saved, everything is checked; if it is right the
    worker is started anew, if not the mistakes are shown and the old worker goes on. Runs that are open finish on the
    code that they began with.

    \b
    Example:
      orchestration dev
      export REDIS_URL=...                   in another terminal, as printed
      orchestration start app:hello --input '"Ana"'

    \b
    Next:
      orchestration list                     in another terminal: what runs
    """
    session = session_of(context)
    hand_over_from_celery(session)
    if flower and importlib.util.find_spec("flower") is None:
        raise CliError("Flower is not installed: pip install 'celery-orchestration[flower]', or leave --flower out")
    has_flower = importlib.util.find_spec("flower") is not None if flower is None else flower
    log = _Log()
    with ending_on_signals(), Stack(session, is_embedded=embedded, directory=data) as stack:
        application = stack.application
        application.orchestration.registry  # noqa: B018 - mistakes in the definitions are told before anything starts
        if stack.redis is not None:
            log("redis", f"ready on {stack.redis.host}:{stack.redis.port}, data in {data or 'a private folder'}")
            log("redis", f"in another terminal:  export REDIS_URL={stack.redis.url}")
        else:
            application.reach_store()
            log("redis", "the one that is configured")
        events = ["-E"] if has_flower else []  # without them Flower sees no task

        def start_worker() -> Child:
            options = ["-l", loglevel, *events]
            return stack.start_worker(pool=pool, concurrency=concurrency, on_line=log, options=options)

        worker = start_worker()
        if has_flower:
            command = [sys.executable, "-m", "celery", "-A", application.name, "flower", "--address=127.0.0.1"]
            stack.start("flower", [*command, f"--port={flower_port}"], on_line=log)
            log("flower", f"on http://127.0.0.1:{flower_port}")
        trees = list(application.orchestration.settings.config)
        changes = Changes(trees, Path.cwd()) if reload else None
        log("dev", "Ctrl-C ends everything" + ("; a file that is saved starts the worker anew" if reload else ""))
        try:
            while True:
                saved = _wait_for_a_change(stack, changes)
                log("dev", f"{_names(saved)} changed, checking ...")
                if _is_right(application.name, trees, log):
                    log("dev", "the worker is started anew")
                    stack.end(worker)
                    worker = start_worker()
                else:
                    log("dev", "the worker goes on with what it had")
        except KeyboardInterrupt:
            log("dev", "ending ...")
        finally:
            stack.stop()
    log("dev", "everything has ended")
    context.exit(Exit.OK)


def _wait_for_a_change(stack: Stack, changes: Changes | None) -> list[Path]:
    """Wait until files have changed; raise when one of the processes has ended."""
    pause = threading.Event()
    for look in itertools.count():
        for child in stack.children:
            if child.exit_code is not None:
                raise CliError(f"{child.name} ended with {child.exit_code}, so everything was ended", Exit.FAILED)
        if stack.redis is not None and not stack.redis.is_running:
            raise CliError("redis ended, so everything was ended", Exit.FAILED)
        if changes is not None and look % 2 == 0 and (saved := changes.settled()):
            return saved
        pause.wait(_LOOK_S)
    raise AssertionError


def _is_right(application: str, trees: Sequence[str], log: _Log) -> bool:
    """Whether the application can be loaded and its definitions have no mistakes; tells those that they have."""
    command = [sys.executable, "-m", "orchestration.cli", "check", "--quiet"]
    command += ["-A", application] if application != BUILT else list(trees)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    for line in done.stdout.splitlines():
        log("check", line)
    return done.returncode == Exit.OK


def _names(paths: Sequence[Path]) -> str:
    here = Path.cwd()
    shown = ", ".join(str(path.relative_to(here) if path.is_relative_to(here) else path) for path in paths[:3])
    return shown + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


class _Log:
    """Lines of several processes with the name of each before them; whole lines, whoever writes."""

    def __init__(self) -> None:
        self._colours = itertools.cycle(_COLOURS)
        self._styles: dict[str, str] = {}
        self._is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._lock = threading.Lock()

    def __call__(self, name: str, line: str) -> None:
        with self._lock:
            if name not in self._styles:
                self._styles[name] = next(self._colours)
            prefix = f"{name:<7}| "
            print((click.style(prefix, fg=self._styles[name]) if self._is_coloured else prefix) + line, flush=True)
