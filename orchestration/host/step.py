"""Bootstep of a worker: process hosts run in it with the threads pool, else in a child that it keeps up."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final

import click
from celery import Celery, bootsteps
from celery.platforms import EX_FAILURE
from celery.worker import state

from orchestration.errors import ConfigError
from orchestration.host.burial import Burial
from orchestration.host.serving import BOOT_FAILED, Serving, chosen_hosts
from orchestration.processes import start_bound
from orchestration.types import EntryId

__all__ = ["HostStep", "find_application", "install_hosts"]

logger = logging.getLogger(__name__)

_STOP_GRACE_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0


class HostStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts and stops the process hosts with the worker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, hosts: str | None = None, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._given = hosts
        self._serving: Serving | None = None
        self._child: _Child | None = None

    def start(self, parent: Any) -> None:
        """The pool is up: serve."""
        orchestration = parent.app.orchestration
        hosts = chosen_hosts(orchestration.registry, orchestration.settings, self._given)
        if not hosts:
            return
        if parent.pool_cls.__module__ == "celery.concurrency.thread":
            self._serving = Serving(orchestration.runtime.node, hosts, _refuse_boot)
            self._serving.start()
        else:
            self._child = _Child(parent, hosts)
            self._child.start()

    def stop(self, parent: Any) -> None:
        """The worker goes down."""
        del parent
        serving, self._serving = self._serving, None
        child, self._child = self._child, None
        if serving is not None:
            serving.stop()
        if child is not None:
            child.stop()

    terminate = stop


class _Child:
    """The process that serves the hosts of a worker whose pool forks, or works in the main thread.

    It is started anew, not forked: the processes in it live in many threads. It is ended with the worker's main
    process, however that ends.
    """

    def __init__(self, worker: Any, hosts: tuple[EntryId, ...]) -> None:
        self._worker = worker
        self._hosts = hosts
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        settings = worker.app.orchestration.settings
        entries = [worker.app.orchestration.registry.get(host) for host in hosts]
        self._stop_s = max(entry.lifecycle.stop_timeout / 1000 for entry in entries) + _STOP_GRACE_S
        self._application = settings.host_app or find_application(worker.app)

    def start(self) -> None:
        threading.Thread(target=self._keep, name="orchestration-host-keeper", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            logger.error("the process hosts did not stop in time and have been killed")
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _keep(self) -> None:
        """Start it, and again when it has ended: in this thread, to which the child's life is bound."""
        pause_s = _FIRST_PAUSE_S
        is_boot = True
        while not self._stopping.is_set():
            try:
                process = self._process = self._launch(is_boot)
            except (OSError, subprocess.SubprocessError):  # no memory, no file left: that may pass
                logger.exception("the process hosts could not be started, trying again")
                self._stopping.wait(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            if self._stopping.is_set():
                process.terminate()
            code = process.wait()
            if self._stopping.is_set():
                return
            if is_boot and code == BOOT_FAILED:
                _stop_worker()  # the child has said why
                return
            is_boot = False
            logger.error("the process hosts have ended with %d, starting them again", code)
            self._bury()
            self._stopping.wait(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _launch(self, is_boot: bool) -> subprocess.Popen[bytes]:
        worker = self._worker
        level = worker.loglevel if isinstance(worker.loglevel, int) else logging.getLevelName(worker.loglevel)
        command = [
            sys.executable, "-m", "orchestration.host", "--app", self._application, "--hosts", ",".join(self._hosts),
            "--loglevel", str(level or logging.WARNING), "--worker", str(worker.hostname),
        ]  # fmt: skip
        if not is_boot:
            command.append("--again")
        if worker.logfile:
            command += ["--logfile", str(worker.logfile)]
        path = os.pathsep.join(dict.fromkeys([*(item for item in sys.path if item), os.getcwd()]))
        env: Mapping[str, str] = {**os.environ, "PYTHONPATH": path}
        return start_bound(command, env=env, output=sys.__stderr__.fileno() if sys.__stderr__ else None)

    def _bury(self) -> None:
        """Say at once that its processes are lost."""
        runtime = self._worker.app.orchestration.runtime
        try:
            actors = runtime.store(runtime.settings.namespace).actors
            burial = Burial(actors, runtime.registry, silent_ms=runtime.settings.node_dead_after_ms)
            burial.sweep(has_listened=False)
        except Exception:
            logger.exception("could not say that the processes of this worker are lost")


def _refuse_boot(why: str) -> None:
    logger.critical("this worker cannot boot: %s", why)
    _stop_worker()


def _stop_worker() -> None:
    """Have the worker of this OS process stop in order and exit with 1: its loop looks for this mark."""
    state.should_stop = EX_FAILURE


def find_application(app: Celery) -> str:
    """Where an application stands: ``module:name``.

    Raises:
        ConfigError: No module that another process could import has it.
    """
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        found = name if name != "__main__" else (spec.name if spec is not None else None)
        if found is None or name.startswith(("celery.", "kombu.", "orchestration.")):
            continue
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if value is app:
                return f"{found}:{attribute}"
    raise ConfigError(
        "the process hosts of this worker run in a process of their own, which has to import the Celery application, "
        "and no module has it: set orchestration_host_app to 'module:attribute', or start the worker with -P threads"
    )


def install_hosts(app: Celery) -> None:
    """Add the bootstep and the option ``--hosts`` to the workers of an application."""
    app.steps["worker"].add(HostStep)
    app.user_options["worker"].add(
        click.Option(
            ("--hosts",), metavar="IDS",
            help="Process hosts that this worker serves: ids with commas between them, '*' for all, 'none'.",
        )
    )  # fmt: skip
