"""Processes that a command starts and that end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final

from orchestration.cli.exits import Exit
from orchestration.processes import start_bound

__all__ = ["Child", "ending_on_signals", "worker_command"]

_TAIL_LINES: Final = 15


class Child:
    """A process whose output comes line by line. Start it in the main thread: it ends when that does.

    Args:
        name: What it is, for people.
        command: Program and arguments.
        env: Its environment.
        on_line: Takes each line of its output, in a thread of its own.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], on_line: Callable[[str, str], None] | None
    ) -> None:
        self.name = name
        self._on_line = on_line
        self._last: deque[str] = deque(maxlen=_TAIL_LINES)
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as output:
            self._process: subprocess.Popen[bytes] = start_bound(command, env=env, output=output)
        self._reader = threading.Thread(target=self._read, args=(reading,), name=f"{name}-output", daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def tail(self) -> str:
        """The end of what it has written."""
        return "\n".join(self._last)

    def ask_to_stop(self) -> None:
        """SIGTERM to its main process."""
        self._process.terminate()

    def stop(self, *, grace_s: float) -> None:
        """Wait for its end after :meth:`ask_to_stop`; what is left after that is killed, with all its children."""
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(timeout=1)

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip()
                self._last.append(line)
                if self._on_line is not None:
                    self._on_line(self.name, line)


def worker_command(app: str, *, pool: str, concurrency: int) -> list[str]:
    """The command line of a worker of an application."""
    return [
        sys.executable, "-m", "celery", "-A", app, "worker", "-n", f"orchestration-{os.getpid()}@%h", "-P", pool,
        "-c", str(concurrency), "-l", "INFO", "--without-gossip", "--without-mingle",
    ]  # fmt: skip


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """In this block SIGTERM and SIGHUP end the command in order, as Ctrl-C does."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(Exit.TERMINATED if number == signal.SIGTERM else 128 + number)

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
