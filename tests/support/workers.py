"""Real Celery workers as processes that tests start, watch and kill."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from orchestration.processes import start_bound
from tests.support.replaying import worker_variables
from tests.support.waiting import wait_until
from tests.support.warm_workers import RunningProcess, can_be_warm, start_warm

__all__ = ["ROOT", "WorkerProcess", "start_worker"]

ROOT = Path(__file__).resolve().parents[2]
"""The folder of the project."""

_numbers = itertools.count(1)


class WorkerProcess:
    """One ``celery worker`` with its children. Made by :func:`start_worker`; a context manager that kills on exit."""

    def __init__(self, name: str, process: RunningProcess, log_path: Path) -> None:
        self.name = name
        self.process = process
        self.log_path = log_path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id of the main process."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the main process lives."""
        return self.process.poll() is None

    def log(self) -> str:
        """All it has written so far."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def children(self) -> list[int]:
        """Process ids of its pool (prefork), oldest first."""
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid).children(recursive=True)
            return [child.pid for child in sorted(found, key=lambda child: child.create_time())]
        return []

    def memory_bytes(self) -> int:
        """Resident memory of the main process."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def wait_for_log(self, text: str, *, deadline_s: float = 10.0) -> str:
        """Wait until a line of the log has ``text``; returns that line."""

        def find() -> str:
            return next((line for line in self.log().splitlines() if text in line), "")

        return wait_until(find, deadline_s=deadline_s, message=lambda: f"{text!r} in the log of {self!r}")

    def wait_until_ready(self, *, deadline_s: float = 30.0) -> None:
        """Wait for the line that Celery writes when the worker takes messages.

        Raises:
            AssertionError: It has ended instead, or is not ready in time; the end of its log is in the message.
        """

        def ready() -> bool:
            if not self.is_running:
                raise AssertionError(f"worker {self.name} ended with {self.process.returncode}:\n{self._tail()}")
            return f"{self.name}@" in self.log() and " ready." in self.log()

        wait_until(ready, deadline_s=deadline_s, every_s=0.03, message=lambda: f"{self.name} ready:\n{self._tail()}")

    def wait_until_gone(self, *, deadline_s: float = 20.0) -> int:
        """Wait until the main process has ended; returns its exit code."""
        wait_until(lambda: not self.is_running, deadline_s=deadline_s, message=lambda: f"{self!r} gone")
        return int(self.process.returncode)

    def stop(self, *, deadline_s: float = 20.0) -> int:
        """Ask it to finish what it runs and end (SIGTERM), wait; what is left is killed. Returns the exit code."""
        self._signal(signal.SIGTERM)
        try:
            return self.wait_until_gone(deadline_s=deadline_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the main process and all its children at once, as when a machine dies."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def kill_main(self) -> None:
        """SIGKILL to the main process alone; its children are left to find out."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def kill_children(self) -> list[int]:
        """SIGKILL to the pool's processes, the main one lives on; returns whom."""
        killed = self.children()
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return killed

    def pause(self) -> None:
        """SIGSTOP to all its processes: alive, and deaf."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        os.killpg(self.pid, signal.SIGCONT)

    def __repr__(self) -> str:
        return f"<worker {self.name} pid {self.pid} {'running' if self.is_running else 'ended'}>"

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _tail(self, lines: int = 40) -> str:
        return "\n".join(self.log().splitlines()[-lines:])


def start_worker(
    *,
    redis_url: str,
    log_dir: Path,
    app: str = "celery_app",
    pool: str = "threads",
    concurrency: int = 2,
    queues: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    name: str = "",
    loglevel: str = "INFO",
    wait: bool = True,
    cwd: Path = ROOT,
    python: str = sys.executable,
) -> WorkerProcess:
    """Start a Celery worker in a process (and process group) of its own and wait until it takes messages.

    One that starts in the project's folder is forked from a process that has imported everything already.

    Args:
        redis_url: Store, broker and result backend, unless ``env`` says otherwise.
        log_dir: Where its log goes, as ``<name>.log``.
        app: What ``celery -A`` loads.
        pool: ``prefork``, ``threads`` or ``solo``.
        concurrency: Size of the pool.
        queues: Queues for ``-Q``; none: no ``-Q`` is given.
        env: More environment variables; they win over ours and over the test's own.
        options: More arguments for the worker.
        name: Node name before the ``@``; empty: a fresh one.
        loglevel: At least INFO is needed to see that it is ready.
        wait: False returns at once; call :meth:`WorkerProcess.wait_until_ready` then.
        cwd: Folder it starts in; it can import from there.
        python: Interpreter of another virtual environment.
    """
    name = name or f"w{os.getpid()}-{next(_numbers)}"
    log_path = log_dir / f"{name}.log"
    command = ["-A", app, "worker", "-n", f"{name}@%h", "-P", pool]
    command += ["-c", str(concurrency), "-l", loglevel, "--without-gossip", "--without-mingle"]
    command += [*(["-Q", ",".join(queues)] if queues else []), *options]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "ORCHESTRATION_", "REDIS_"))
    }
    environment |= {"REDIS_URL": redis_url, "PYTHONUNBUFFERED": "1", "PYTHONPATH": f"{cwd}{os.pathsep}{ROOT}"}
    environment |= worker_variables() | dict(env or {})
    process: RunningProcess
    is_own = cwd == ROOT and python == sys.executable
    if is_own and pool != "gevent" and can_be_warm(environment):  # gevent patches what it is to import
        process = start_warm(command, env=environment, cwd=cwd, log_path=log_path)
    else:
        with log_path.open("ab") as log:
            process = start_bound([python, "-m", "celery", *command], env=environment, cwd=cwd, output=log)
    worker = WorkerProcess(name, process, log_path)
    if wait:
        try:
            worker.wait_until_ready()
        except BaseException:
            worker.kill()
            raise
    return worker
