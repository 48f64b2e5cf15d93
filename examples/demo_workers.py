"""Worker processes of the demonstration: started, watched through their log, killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from orchestration.processes import start_bound

__all__ = ["DemoWorker"]


class DemoWorker:
    """One Celery worker process with its children; it ends with the demonstration, whatever happens to that.

    Args:
        name: Node name.
        pool: Celery's ``-P``.
        cwd: Folder with ``celery_app.py``.
        env: Its environment.
        folder: Where its log goes.
    """

    def __init__(self, name: str, *, pool: str, cwd: Path, env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.pool = pool
        self._log_path = folder / f"{name}.log"
        command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-n", f"{name}@%h", "-P", pool]
        command += ["-c", "2", "-l", "INFO", "--without-gossip", "--without-mingle"]
        with self._log_path.open("ab") as log:
            self._process = start_bound(command, cwd=cwd, env=env, output=log)

    @property
    def state(self) -> str:
        """One word for the table."""
        if self._process.poll() is not None:
            return "killed" if self._process.returncode == -signal.SIGKILL else "ended"
        return "ready" if self._is_ready() else "starting"

    def wait_until_ready(self, *, deadline_s: float = 30.0) -> None:
        """Wait until it takes messages.

        Raises:
            RuntimeError: It has ended, or is not ready in time.
        """
        deadline = time.monotonic() + deadline_s
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not become ready")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to it and its children. Safe to repeat."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def log_tail(self, lines: int = 15) -> str:
        """The end of what it has written."""
        return "\n".join(self._log().splitlines()[-lines:])

    def _is_ready(self) -> bool:
        return " ready." in self._log()

    def _log(self) -> str:
        return self._log_path.read_text("utf-8", "replace") if self._log_path.exists() else ""
