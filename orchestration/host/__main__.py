"""The process that serves the process hosts of a worker with another pool than threads; started by the worker."""

from __future__ import annotations

import argparse
import atexit
import importlib
import logging
import os
import signal
import threading
from typing import Any

from orchestration.errors import OrchestrationError
from orchestration.host.serving import BOOT_FAILED, Serving, chosen_hosts

logger = logging.getLogger("orchestration.host")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM.

    Returns:
        Exit code: 0 after an orderly stop, 1 when it cannot start, 3 when a service cannot that the boot needs.
    """
    parser = argparse.ArgumentParser("orchestration.host", description=__doc__)
    parser.add_argument("--app", required=True, metavar="MODULE:NAME")
    parser.add_argument("--hosts", default="*")
    parser.add_argument("--loglevel", type=int, default=logging.WARNING)
    parser.add_argument("--logfile")
    parser.add_argument("--worker", default="")
    parser.add_argument("--again", action="store_true", help="the worker has booted before")
    given = parser.parse_args(arguments)
    stop, has_failed = threading.Event(), threading.Event()

    def refuse(why: str) -> None:
        logger.critical("this worker cannot boot: %s", why)
        has_failed.set()
        stop.set()

    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal: the worker stops us in its own time
    try:
        app = _application(given.app)
        app.log.setup(given.loglevel, given.logfile, False, False, hostname=given.worker or None)
        app._orchestration_host = True
        app.loader.import_default_modules()
        app.finalize()
        orchestration = app.orchestration
        runtime = orchestration.runtime
        with runtime.starting():
            hosts = chosen_hosts(orchestration.registry, orchestration.settings, given.hosts)
            serving = Serving(runtime.node, hosts, None if given.again else refuse)
            serving.start()
    except OrchestrationError as error:
        logger.error("the process hosts cannot start: %s", error)
        return 1
    logger.info("process hosts ready: %s", ", ".join(hosts))
    stop.wait()
    serving.stop()
    work = runtime.node.work
    runtime.close()
    work.shutdown()
    return BOOT_FAILED if has_failed.is_set() else 0


def _application(where: str) -> Any:
    module, _, name = where.partition(":")
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _leave(code: int) -> None:
    """End this process without Python's own end.

    That would stop the threads of the node wherever they are, and then wait for the locks that they hold: a line which
    one of them wrote to the log at that moment kept the process from ending.
    """
    atexit._run_exitfuncs()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
