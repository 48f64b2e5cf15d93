"""Child processes that do not outlive the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Final

__all__ = ["start_bound"]

# Run in the new process before it becomes the command: on Linux it asks for a signal when the thread that started it
# ends. A wrapper rather than preexec_fn, which may deadlock in a process with threads.
_LAUNCHER: Final = """
import ctypes, os, sys
parent, number, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
try:
    ctypes.CDLL(None).prctl(1, number)
except (AttributeError, OSError):
    pass
if os.getppid() != parent:
    sys.exit("the starter is gone")
try:
    os.execvp(command[0], command)
except OSError as error:
    sys.exit(f"{command[0]}: {error}")
"""


def start_bound(
    command: Sequence[str],
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    output: IO[bytes] | int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; on Linux it gets ``death_signal`` when the calling *thread* ends.

    The session keeps Ctrl-C of a terminal from it, and makes it one process group with its children: ``os.killpg``
    reaches all of them. On other systems nothing is sent: stop it yourself.

    Args:
        command: Program (looked up on the PATH) and arguments.
        death_signal: What it gets; SIGKILL unless it can be trusted to end on less.
        env: Its environment; None: the caller's.
        cwd: Folder it starts in; None: the caller's.
        output: Where both its outputs go; None: nowhere.
    """
    sink = subprocess.DEVNULL if output is None else output
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(int(death_signal)), *command],
        cwd=cwd,
        env=dict(env) if env is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        start_new_session=True,
    )
