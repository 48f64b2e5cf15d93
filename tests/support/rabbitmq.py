"""A real RabbitMQ for tests: one node, started here as a child process, gone when its starter is gone.

Ports, folder, Erlang cookie and even Erlang's port mapper (epmd) are its own, so nothing is left on the machine and no
other node is in its way. It has some virtual hosts from the beginning: each test module takes one that nobody used.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import amqp
import pytest

from orchestration.processes import start_bound
from tests.support.waiting import wait_until

__all__ = ["RabbitMQ", "find_rabbitmq", "rabbitmq", "rabbitmq_url", "second_rabbitmq"]

_SERVER: Final = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""Debian's own ``rabbitmq-server`` on the PATH changes to the user and the folders of the system's service."""
_VHOSTS: Final = 24
_HOST: Final = "127.0.0.1"
_NOTHING: Final = "/dev/null"


def find_rabbitmq() -> str:
    """Path of the script that starts RabbitMQ in the foreground; empty if it or Erlang is not installed."""
    server = _SERVER if os.access(_SERVER, os.X_OK) else shutil.which("rabbitmq-server") or ""
    return server if server and shutil.which("erl") and shutil.which("epmd") else ""


class RabbitMQ:
    """One node; a context manager. After :meth:`kill` or :meth:`stop`, :meth:`start` brings it back with its data."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="orchestration-rabbitmq-"))
        self._password = secrets.token_urlsafe(16)
        self._ports = _free_ports(3)
        self._vhosts = itertools.count()
        self._mapper: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
        self._prepare()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """Where clients connect to."""
        return self._ports[0]

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._node is not None and self._node.poll() is None

    def url(self, vhost: str | int) -> str:
        """URL of a virtual host, by its number."""
        return f"amqp://tests:{self._password}@{_HOST}:{self.port}/tests-{vhost}"

    def fresh_url(self) -> str:
        """URL of a virtual host that nobody has used."""
        number = next(self._vhosts)
        assert number < _VHOSTS, f"more than {_VHOSTS} virtual hosts are wanted: raise _VHOSTS"
        return self.url(number)

    def start(self) -> Self:
        """Start it and wait until it takes connections; does nothing when it runs."""
        if self.is_running:
            return self
        if self._mapper is None:
            mapper = {**os.environ, "ERL_EPMD_PORT": str(self._ports[1])}
            self._mapper = start_bound(["epmd", "-address", _HOST], env=mapper)
        with self.log_path.open("ab") as log:
            self._node = start_bound([find_rabbitmq()], env=self._environment(), cwd=self.folder, output=log)
        wait_until(self._answers, deadline_s=90, every_s=0.1, message=lambda: f"RabbitMQ answers:\n{self._tail()}")
        return self

    def stop(self) -> None:
        """End it in order, as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it for good and remove its folder."""
        self._end(signal.SIGKILL)
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
            self._mapper = None
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log_path(self) -> Path:
        """What it writes."""
        return self.folder / "output.log"

    def messages(self, url: str, queue: str) -> int:
        """Number of messages that wait in a queue; 0 if there is none of this name."""
        with _connect(url) as connection:
            try:
                return int(connection.channel().queue_declare(queue, passive=True).message_count)
            except amqp.NotFound:
                return 0

    def has_written(self, queue: str) -> bool:
        """Whether a new quorum queue is on disk by name: a node that is killed before that has it broken for ever.

        RabbitMQ 3.10 writes the names of its logs about a second late.
        """
        return any(f"_{queue}".encode() in path.read_bytes() for path in self.folder.rglob("names.dets"))

    def _prepare(self) -> None:
        vhosts = [f"tests-{number}" for number in range(_VHOSTS)]
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        definitions = {
            "users": [{"name": "tests", "password": self._password, "tags": ""}],
            "vhosts": [{"name": name} for name in vhosts],
            "permissions": [{"user": "tests", "vhost": name, **everything} for name in vhosts],
        }
        configuration = [
            "loopback_users = none",
            "disk_free_limit.absolute = 50MB",
            "vm_memory_high_watermark.absolute = 1GB",
            f"load_definitions = {self.folder / 'definitions.json'}",
            "log.console.level = warning",
            "log.file = false",
        ]
        (self.folder / "definitions.json").write_text(json.dumps(definitions), "utf-8")
        (self.folder / "rabbitmq.conf").write_text("\n".join(configuration) + "\n", "utf-8")
        (self.folder / "plugins").write_text("[].\n", "utf-8")
        (self.folder / "home").mkdir()
        cookie = self.folder / "home" / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(10), "utf-8")
        cookie.chmod(0o400)

    def _environment(self) -> dict[str, str]:
        port, mapper, distribution = map(str, self._ports)
        return {
            "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(self.folder / "home"),
            "ERL_EPMD_PORT": mapper, "ERL_EPMD_ADDRESS": _HOST,
            "RUNNING_UNDER_SYSTEMD": "true",  # its script becomes the node, no shell stays between
            "RABBITMQ_NODENAME": f"tests-{port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": _HOST,
            "RABBITMQ_NODE_PORT": port, "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"), "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"), "RABBITMQ_CONF_ENV_FILE": _NOTHING,
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +SDio 4 +sbwt none +sbwtdcpu none +sbwtdio none",
        }  # fmt: skip

    def _answers(self) -> bool:
        assert self.is_running, f"RabbitMQ has ended:\n{self._tail()}"
        try:
            with _connect(self.url(_VHOSTS - 1)):
                return True
        except (OSError, amqp.AMQPError):
            return False

    def _end(self, number: signal.Signals) -> None:
        node, self._node = self._node, None
        if node is None:
            return
        with contextlib.suppress(ProcessLookupError):
            node.send_signal(number)
        try:
            node.wait(timeout=30)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)  # its helpers

    def _tail(self, lines: int = 20) -> str:
        text = self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def _connect(url: str) -> Iterator[amqp.Connection]:
    secret, _, rest = url.removeprefix("amqp://tests:").partition("@")
    host, _, vhost = rest.partition("/")
    connection = amqp.Connection(host, userid="tests", password=secret, virtual_host=vhost, connect_timeout=5)
    try:
        connection.connect()
        yield connection
    finally:
        connection.close()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((_HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def _require_rabbitmq() -> None:
    if not find_rabbitmq():
        message = "RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)"
        if os.environ.get("CI"):
            raise AssertionError(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A RabbitMQ for the whole session. Tests that stop or kill it take ``second_rabbitmq``."""
    _require_rabbitmq()
    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope="module")
def rabbitmq_url(rabbitmq: RabbitMQ) -> str:
    """URL of a virtual host that is this module's own."""
    return rabbitmq.fresh_url()


@pytest.fixture
def second_rabbitmq() -> Iterator[RabbitMQ]:
    """A server of this test's own, which it may stop and kill."""
    _require_rabbitmq()
    with RabbitMQ() as server:
        yield server
