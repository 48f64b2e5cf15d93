"""Workers forked from a process that has imported Celery and the package already: a start costs a third of the time.

Each is a process (and process group) of its own, with the command line, environment, folder and log that
``python -m celery`` would have; what it does not have is a hash seed of its own. As a module it is the process that
forks them: it reads one request a line, and says who has started and who has ended, with which code. It ends when its
starter does, and takes the workers with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from orchestration import faults
from tests.support.waiting import wait_until

__all__ = ["RunningProcess", "can_be_warm", "start_warm"]

_READ_AT_IMPORT = ("REMAP_", "KOMBU_", "C_", "PYTHON")
_HARMLESS = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONUNBUFFERED")
_IMPORTED = (
    "celery.apps.worker", "celery.backends.redis", "celery.bin.celery", "celery.bin.worker",
    "celery.concurrency.prefork",
    "celery.concurrency.solo", "celery.concurrency.thread", "celery.worker.consumer", "kombu.transport.redis",
    "orchestration.cli.celery_command", "orchestration.client", "orchestration.host.node", "orchestration.tasks.app",
)  # fmt: skip


class RunningProcess(Protocol):
    """What is needed of a process that was started; ``subprocess.Popen`` has it."""

    @property
    def pid(self) -> int:
        """Its process id."""

    returncode: Any

    def poll(self) -> int | None:
        """Its exit code; None: it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns its exit code."""


def can_be_warm(env: Mapping[str, str]) -> bool:
    """Whether a worker with this environment may be forked: no variable of it is read while modules are imported."""
    return not any(name.startswith(_READ_AT_IMPORT) and name not in _HARMLESS for name in env)


def start_warm(arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, log_path: Path) -> RunningProcess:
    """Run ``celery`` with arguments.

    Args:
        arguments: After the name of the program.
        env: All of its environment.
        cwd: Folder it starts in; it can import from there.
        log_path: Where both its outputs go; appended to.
    """
    global _starter
    with _lock:
        if _starter is None or not _starter.is_running:
            _starter = _Starter()
        return _starter.start({"args": list(arguments), "env": dict(env), "cwd": str(cwd), "log": str(log_path)})


class _Starter:
    """The process that forks, as seen from the tests."""

    def __init__(self) -> None:
        root = Path(__file__).resolve().parents[2]
        env = {name: value for name, value in os.environ.items() if can_be_warm({name: value})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm_workers"], cwd=root, text=True, env={**env, "PYTHONPATH": "."},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._started: list[int] = []
        self.codes: dict[int, int] = {}
        self.changed = threading.Condition()
        threading.Thread(target=self._read, name="warm-workers", daemon=True).start()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def start(self, request: dict[str, Any]) -> _Warm:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        with self.changed:
            assert self.changed.wait_for(lambda: self._started, timeout=60), "no worker was forked"
            return _Warm(self, self._started.pop())

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, *numbers = line.split()
            with self.changed:
                if word == "started":
                    self.codes.pop(int(numbers[0]), None)  # of an earlier process with this number
                    self._started.append(int(numbers[0]))
                else:
                    self.codes[int(numbers[0])] = int(numbers[1])
                self.changed.notify_all()


class _Warm:
    """One forked worker."""

    def __init__(self, starter: _Starter, pid: int) -> None:
        self._starter = starter
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None: it runs."""
        if self.returncode is None:
            self.returncode = self._starter.codes.get(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns its exit code."""
        wait_until(lambda: self.poll() is not None, deadline_s=timeout or 60, message=f"the end of process {self.pid}")
        assert self.returncode is not None
        return self.returncode


_lock = threading.Lock()
_starter: _Starter | None = None


# In the process that forks --------------------------------------------------------------------------------------------


def _serve() -> dict[str, Any] | None:
    """Fork a worker for each request; returns in the workers with their request, and at the end of all with None."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    own, pending = os.getpid(), b""
    while True:
        readable, _, _ = select.select([0, reader], [], [])
        if reader in readable:
            os.read(reader, 4096)
            _say_who_ended()
        if 0 not in readable:
            continue
        data = os.read(0, 65536)
        if not data:
            return None
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for end in (reader, writer):
                    os.close(end)
                _die_with(own)
                return dict(json.loads(line))
            print("started", child, flush=True)


def _say_who_ended() -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        print("ended", child, os.waitstatus_to_exitcode(status), flush=True)


def _die_with(parent: int) -> None:
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def _become(request: dict[str, Any]) -> None:
    """Take on everything that makes the process the one that was asked for."""
    os.setsid()
    sources = (os.open(os.devnull, os.O_RDONLY), os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644))
    for number, source in enumerate((sources[0], sources[1], sources[1])):
        os.dup2(source, number)
    for source in sources:
        os.close(source)
    streams: list[IO[str]] = [os.fdopen(0, encoding="utf-8", closefd=False)]
    streams += [
        os.fdopen(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
        for number in (1, 2)
    ]
    for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
        # Celery puts its own in the place of these, and writes its log to the ones with underscores.
        vars(sys).update({name: stream, f"__{name}__": stream})
    own_path = [str(Path(path or ".").resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    installed = [path for path in sys.path if path and str(Path(path).resolve()) not in own_path]
    os.environ.clear()
    os.environ.update(request["env"])
    importlib.reload(faults)
    if "TZ" in request["env"]:
        time.tzset()
    os.chdir(request["cwd"])
    named = [path for path in request["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [request["cwd"], *named, *installed]
    sys.argv = ["celery", *request["args"]]


if __name__ == "__main__":
    found = _serve()
    if found is not None:
        from celery.__main__ import main

        _become(found)
        main()
