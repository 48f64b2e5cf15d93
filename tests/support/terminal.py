"""The command line in a real terminal: tmux keeps the screen, commands have its tty as input, output and error.

In the pane runs this module, which has imported everything already and forks for each command, so that a command does
not take the second that importing Celery takes. Keys that a test presses go through the terminal, as a person's do.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.waiting import wait_until

__all__ = ["Screen", "Terminal", "require_tmux"]

_ENDED = re.compile(r"^\[ended (\d+) with (-?\d+)\]$", re.MULTILINE)
_HEIGHT = 50


def require_tmux() -> None:
    """Skip where tmux is not installed; in CI it must be."""
    if shutil.which("tmux") is None:
        if os.environ.get("CI"):
            pytest.fail("tmux is not installed; .ci/debian-packages names it")
        pytest.skip("tmux is not installed")


@dataclass(frozen=True)
class Screen:
    """What a command has left on the screen.

    Attributes:
        lines: Its lines; one that the terminal had to wrap is one line here, and wider than the terminal.
        code: The exit code.
        width: Columns of the terminal.
    """

    lines: list[str]
    code: int
    width: int

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines)

    @property
    def words(self) -> str:
        """All of it, on one line."""
        return " ".join(self.text.split())

    @property
    def too_wide(self) -> list[str]:
        """Lines that the terminal had to wrap."""
        from rich.cells import cell_len

        return [line for line in self.lines if cell_len(line) > self.width]

    def values(self) -> list[Any]:
        """The JSON values of which it consists.

        Raises:
            ValueError: Something else is there.
        """
        found, decoder, rest = [], json.JSONDecoder(), self.text.strip()
        while rest:
            value, end = decoder.raw_decode(rest)
            found.append(value)
            rest = rest[end:].strip()
        return found


class Terminal:
    """A terminal in which commands are run; a context manager.

    Args:
        width: Its columns.
        folder: For its sockets.
        env: Environment of the commands.
        cwd: Folder they start in.
    """

    def __init__(self, width: int, *, folder: Path, env: Mapping[str, str], cwd: Path) -> None:
        require_tmux()
        self.width = width
        self._env = dict(env)
        self._numbers = itertools.count(1)
        self._running = 0
        self._socket = folder / f"tmux-{width}"
        self._orders = folder / f"orders-{width}"
        os.mkfifo(self._orders)
        environment = {**self._env, "LC_ALL": "C.UTF-8"}
        environment.pop("TMUX", None)
        subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", "/dev/null", "start-server", ";", "set-option", "-g",
             "history-limit", "20000", ";", "new-session", "-d", "-x", str(width), "-y", str(_HEIGHT), "-c", str(cwd),
             sys.executable, "-m", "tests.support.terminal", str(self._orders)],
            env=environment, cwd=cwd, check=True, timeout=30,
        )  # fmt: skip
        self._writer = self._orders.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, and whatever runs in it."""
        self._writer.close()
        with contextlib.suppress(subprocess.SubprocessError):
            self._tmux("kill-server")

    def run(self, *words: str, deadline_s: float = 30.0, **env: str) -> Screen:
        """Run a command to its end."""
        return self.wait(self.begin(*words, **env), deadline_s=deadline_s)

    def begin(self, *words: str, **env: str) -> int:
        """Begin a command on an empty screen; returns its number."""
        if self._running:  # a test has given up on it
            self.press("C-c")
            self.wait(self._running)
        self._running = number = next(self._numbers)
        order = {"number": number, "args": list(words), "env": {**self._env, "TERM": "screen-256color", **env}}
        self._writer.write(json.dumps(order) + "\n")
        self._writer.flush()
        wait_until(lambda: f"[began {number}]" in self.capture(), deadline_s=20, every_s=0.02, message="it begins")
        return number

    def wait(self, number: int, *, deadline_s: float = 30.0) -> Screen:
        """Wait for the end of a command."""

        def ended() -> str:
            seen = self.capture()
            return seen if any(int(found[1]) == number for found in _ENDED.finditer(seen)) else ""

        seen = wait_until(ended, deadline_s=deadline_s, every_s=0.02, message=self.capture)
        (found,) = [found for found in _ENDED.finditer(seen) if int(found[1]) == number]
        self._running = 0
        shown = seen[: found.start()].partition(f"[began {number}]\n")[2]
        return Screen([line.rstrip() for line in shown.rstrip().split("\n")], int(found[2]), self.width)

    def press(self, *keys: str) -> None:
        """Press keys, as tmux names them: ``C-c``."""
        self._tmux("send-keys", *keys)

    def wait_for(self, text: str, *, deadline_s: float = 30.0) -> str:
        """Wait until a text is on the screen; returns what is there."""

        def seen() -> str:
            shown = self.capture()
            return shown if text in shown else ""

        return wait_until(
            seen, deadline_s=deadline_s, every_s=0.05, message=lambda: f"{text!r} on the screen:\n{self.capture()}"
        )

    def capture(self, *, escapes: bool = False) -> str:
        """All that is on the screen and above it, wrapped lines joined; with the colours, if wanted."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-", *(["-e"] if escapes else []))

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *words], capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout


def _serve(orders: str) -> None:
    """Run the orders that come in, one after the other, each in a child that has the terminal."""
    import orchestration.cli.group
    import orchestration.client
    import orchestration.tasks.app  # noqa: F401 - imported to be there in the children

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Path(orders).open(encoding="utf-8") as lines:
        for line in lines:
            order = json.loads(line)
            sys.stdout.write(f"\033[H\033[2J\033[3J[began {order['number']}]\n")
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                os._exit(_command(order))
            _, status = os.waitpid(child, 0)
            print(f"\n[ended {order['number']} with {os.waitstatus_to_exitcode(status)}]", flush=True)


def _command(order: dict[str, Any]) -> int:
    from orchestration.cli import main

    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["orchestration", *order["args"]]
    try:
        main()
    except SystemExit as end:
        code = end.code
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


if __name__ == "__main__":
    _serve(sys.argv[1])
