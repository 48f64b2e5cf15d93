"""Nodes that have gone are forgotten with all that they ran, also where nobody serves a process host."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.store.actors import Actors
from tests.support import wait_until
from tests.support.projects import Deployment, Project, deployed
from tests.support.workers import WorkerProcess

project = Project(
    settings={"node_dead_after_ms": 900, "heartbeat_ms": 300},
    env={"ORCHESTRATION_NODE_DEAD_AFTER_MS": "900", "ORCHESTRATION_HEARTBEAT_MS": "300"}, concurrency=1,
)  # fmt: skip
project.entry("host", "process.host")
project.lua("waits", "process.lua", "return function() process.events():receive() end")
public = project.function("public", "return function() return process.pid() end")
starts = project.function(
    "starts",
    """
    return function(name)
        local pid = assert(process.spawn("app:waits", "app:host"))
        process.registry.register(name, pid)
        return pid
    end
    """,
)


@pytest.fixture
def deployment(redis_url: str, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(project, tmp_path, redis_url) as found:
        yield found


def _actors(deployment: Deployment) -> Actors:
    return deployment.orchestration.runtime.store("default").actors


def _left(deployment: Deployment) -> list[str]:
    """Keys of nodes and processes."""
    names = ("*:node:*", "*:living:*", "*:named:*", "*:mail:*", "*:host:*", "*:names", "*:nodes")
    connection = deployment.orchestration.runtime.connection
    return sorted(key.decode() for name in names for key in connection.call("KEYS", name))


def _is_clean(deployment: Deployment) -> bool:
    return not _left(deployment)


def _settle(worker: WorkerProcess, deployment: Deployment) -> None:
    worker.wait_until_ready()
    assert deployment.client.call(public, timeout=20)
    assert len(_actors(deployment).node_ids()) == 1


def test_a_prefork_child_that_is_killed_is_buried_by_the_sweep(deployment: Deployment) -> None:
    """Its node has joined for a function; no other node is there that could notice."""
    worker = deployment.worker(pool="prefork", options=["--hosts", "none"])
    _settle(worker, deployment)
    [info] = _actors(deployment).nodes().values()
    os.kill(info["os_pid"], signal.SIGKILL)
    wait_until(lambda: _is_clean(deployment), message=lambda: str(_left(deployment)))


def test_a_silent_node_is_buried_by_the_sweep(deployment: Deployment) -> None:
    worker = deployment.worker(pool="prefork", options=["--hosts", "none"])
    _settle(worker, deployment)
    [info] = _actors(deployment).nodes().values()
    os.kill(info["os_pid"], signal.SIGSTOP)
    try:
        wait_until(lambda: _is_clean(deployment), message=lambda: str(_left(deployment)))
    finally:
        os.kill(info["os_pid"], signal.SIGCONT)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_stops_leaves_nothing_behind(deployment: Deployment, pool: str) -> None:
    worker = deployment.worker(pool=pool, options=["--hosts", "none"])
    _settle(worker, deployment)
    worker.stop()
    assert _is_clean(deployment), _left(deployment)


def test_a_worker_with_processes_that_stops_leaves_nothing_behind(deployment: Deployment) -> None:
    worker = deployment.worker(pool="threads")
    worker.wait_until_ready()
    pid = deployment.client.call(starts, "somebody", timeout=20)
    assert _actors(deployment).names() == {"somebody": pid}
    worker.stop()
    assert _is_clean(deployment), _left(deployment)


def test_the_last_worker_is_killed_and_a_later_one_without_hosts_buries_it(deployment: Deployment) -> None:
    worker = deployment.worker(pool="threads")
    worker.wait_until_ready()
    assert deployment.client.call(starts, "somebody", timeout=20)
    worker.kill()
    assert _left(deployment)
    deployment.worker(options=["--hosts", "none"])
    wait_until(lambda: _is_clean(deployment), message=lambda: str(_left(deployment)))


def test_the_host_process_of_a_prefork_worker_is_killed_and_no_host_knows_it_any_more(deployment: Deployment) -> None:
    deployment.worker(pool="prefork").wait_until_ready()
    actors = _actors(deployment)
    [first] = wait_until(actors.node_ids)
    os.kill(actors.nodes()[first]["os_pid"], signal.SIGKILL)

    def serving() -> list[bytes]:
        return list(deployment.orchestration.runtime.connection.call("SMEMBERS", "orc:{default.p}:host:app:host"))

    wait_until(
        lambda: len(serving()) == 1 and serving() != [first.encode()], deadline_s=20, message=lambda: str(serving())
    )
