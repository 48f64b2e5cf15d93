"""A Redis Cluster as the store: workflows go on while slots move and masters die. The broker is elsewhere."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from orchestration.client import WorkflowHandle
from orchestration.store.keys import Keyspace
from orchestration.store.opening import open_connection
from orchestration.store.scripts import load_script
from tests.support import wait_until
from tests.support.errands import errands, lateness_ms, run_errands
from tests.support.projects import Deployment, deployed
from tests.support.redis_servers import Cluster, RedisProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Deploy = Callable[[Cluster], Deployment]


@pytest.fixture
def deploy(tmp_path: Path, redis_url: str) -> Iterator[Deploy]:
    """Deploy the errands with one worker."""
    with contextlib.ExitStack() as stack:

        def start(cluster: Cluster) -> Deployment:
            project = errands(env={"ORCHESTRATION_DEAD_AFTER_MS": "3s"})
            deployment = stack.enter_context(deployed(project, tmp_path, redis_url, store_url=cluster.url))
            deployment.worker()
            return deployment

        yield start


def is_in_step(handle: WorkflowHandle) -> bool:
    return any(call.state == "claimed" for call in handle.describe().pending)


def move_slot(cluster: Cluster, slot: int, source: RedisProcess, target: RedisProcess, *, then: Any = None) -> None:
    """Move a slot as redis-cli does: its keys one after the other, then the slot."""
    ids = dict(zip(cluster.nodes, cluster.node_ids(), strict=True))
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    if then is not None:
        then()
    while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source, *cluster.nodes):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target])


def node_of(cluster: Cluster, slot: int) -> RedisProcess:
    """The master that has a slot: the nodes have thirds."""
    return cluster.nodes[0 if slot < 5461 else 1 if slot < 10_923 else 2]


def test_all_that_workflows_do_on_all_nodes(deploy: Deploy, redis_cluster: Cluster) -> None:
    deployment = deploy(redis_cluster)
    run_errands(deployment.client, 8)
    assert not deployment.orchestration.runtime.messages.atomic
    broken = [found for found in deployment.client.doctor() if "failed" in found.message or "refuse" in found.message]
    assert not broken, "the doctor can ask a cluster"
    assert sum(bool(node.ask("KEYS", "orc:{default.*}:run:*")) for node in redis_cluster.nodes) == 3


def test_a_slot_moves_under_workflows(deploy: Deploy, redis_cluster: Cluster) -> None:
    deployment = deploy(redis_cluster)
    run_errands(deployment.client, 4)
    handles = [deployment.client.start_workflow("app:nap", ms) for ms in range(200, 4200, 200)]
    for shard in Keyspace("orc", "default", 8).all[:3]:
        slot = key_slot(shard.timers.encode())
        source = node_of(redis_cluster, slot)
        target = next(node for node in redis_cluster.nodes if node is not source)
        move_slot(redis_cluster, slot, source, target, then=lambda: run_one(deployment))
        run_errands(deployment.client, 2)
        move_slot(redis_cluster, slot, target, source)
    for handle, ms in zip(handles, range(200, 4200, 200), strict=True):
        assert handle.result(timeout=60) == ms
        assert lateness_ms(handle, ms) >= 0
    run_errands(deployment.client, 4)


def run_one(deployment: Deployment) -> None:
    """Start something while the slot is half moved; it may have to wait until it is moved."""
    with contextlib.suppress(Exception):
        deployment.client.start_workflow("app:nap", 1)


def test_a_replica_takes_the_place_of_a_dead_master(deploy: Deploy) -> None:
    with Cluster(replicas=1) as cluster:
        deployment = deploy(cluster)
        run_errands(deployment.client, 4)
        naps = [deployment.client.start_workflow("app:nap", ms) for ms in range(500, 9000, 500)]
        steps = [deployment.client.start_workflow("app:long_step", uuid.uuid4().hex, 3) for _ in range(2)]
        wait_until(lambda: all(map(is_in_step, steps)), deadline_s=30, every_s=0.05, message="at work")
        assert all(node.ask("WAIT", 1, 5000) == 1 for node in cluster.nodes[:3])
        cluster.nodes[0].kill()
        for step in steps:
            assert step.result(timeout=90) == ["slept", 42]
        for nap, ms in zip(naps, range(500, 9000, 500), strict=True):
            assert nap.result(timeout=90) == ms
        run_errands(deployment.client, 4)


def test_orders_for_many_nodes_keep_their_order_and_scripts_are_loaded_where_they_are_missing(
    redis_cluster: Cluster,
) -> None:
    with contextlib.closing(open_connection(redis_cluster.url, patience_s=5)) as connection:
        script = load_script("open_store")
        keys = [f"orc:{uuid.uuid4().hex}:meta" for _ in range(30)]
        for node in redis_cluster.nodes:
            node.ask("SCRIPT", "FLUSH")
        orders = [(script, [key], [1, number]) for number in (8, 4) for key in keys]
        replies = connection.run_many(orders)
        assert [[int(part) for part in reply] for reply in replies] == [[1, 8]] * 60, "the first of each key counts"
        read = connection.pipeline([["HGET", key, "shards"] for key in keys])
        assert read == [b"8"] * 30
        mixed = [[1, 8], [], [1, 8]]
        refused = connection.run_many([(script, [key], args) for key, args in zip(keys[:3], mixed, strict=True)])
        assert isinstance(refused[1], Exception)
        assert not isinstance(refused[0], Exception)
        assert not isinstance(refused[2], Exception)
        assert len(connection.pipeline([["TYPE", key] for key in keys])) == 30
