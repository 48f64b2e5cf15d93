"""``orchestration dev``: everything in one terminal."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
import threading

import click

from orchestration.cli.children import ending_on_signals
from orchestration.cli.exits import CliError, Exit
from orchestration.cli.handover import hand_over_from_celery
from orchestration.cli.session import session_of, shared_options
from orchestration.cli.stack import Stack

__all__ = ["dev"]

_COLOURS = ("cyan", "green", "magenta", "yellow")
_LOOK_S = 0.2


@click.command()
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
@shared_options
@click.pass_context
def dev(
    context: click.Context, pool: str, concurrency: int, loglevel: str, data: str | None, embedded: bool | None,
    flower: bool | None, flower_port: int,
) -> None:  # fmt: skip
    """Run Redis, a worker and Flower in this terminal, until Ctrl-C.

    The first lines say how other terminals reach them. Where a Redis is configured it is used, and left as it is.

    \b
    Example:
      orchestration dev
      export REDIS_URL=...                  (in another terminal, as printed)
      orchestration start app:hello --input '"Ana"'
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
        options = ["-l", loglevel, *events]
        stack.start_worker(pool=pool, concurrency=concurrency, on_line=log, options=options)
        if has_flower:
            command = [sys.executable, "-m", "celery", "-A", application.name, "flower", "--address=127.0.0.1"]
            stack.start("flower", [*command, f"--port={flower_port}"], on_line=log)
            log("flower", f"on http://127.0.0.1:{flower_port}")
        log("dev", "Ctrl-C ends everything")
        try:
            _watch(stack)
        except KeyboardInterrupt:
            log("dev", "ending ...")
        finally:
            stack.stop()
    log("dev", "everything has ended")
    context.exit(Exit.OK)


def _watch(stack: Stack) -> None:
    """Return never; raise when one of the processes has ended."""
    pause = threading.Event()
    while True:
        for child in stack.children:
            if child.exit_code is not None:
                raise CliError(f"{child.name} ended with {child.exit_code}, so everything was ended", Exit.FAILED)
        if stack.redis is not None and not stack.redis.is_running:
            raise CliError("redis ended, so everything was ended", Exit.FAILED)
        pause.wait(_LOOK_S)


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
