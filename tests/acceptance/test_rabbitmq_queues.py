"""Queues and their consumers on RabbitMQ: the tests of Redis again, on classic and on quorum queues."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from orchestration import Client
from orchestration.embedded import EmbeddedRedis
from tests.acceptance import test_queues as on_redis
from tests.acceptance.test_queues import (
    notes,
    orders,
    project,
    publish,
    read_notes,
    slow,
)
from tests.support import wait_until
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, deployed
from tests.support.rabbitmq import RabbitMQ

__all__ = ["notes"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

QUORUM = {"task_default_queue_type": "quorum", "task_create_missing_queue_type": "quorum"}
KINDS = pytest.mark.parametrize("kind", [{}, QUORUM], ids=["classic", "quorum"])

for _name, _test in vars(on_redis).items():
    # Without those that write into Redis themselves, or have a deployment of their own.
    if _name.startswith("test_") and not {"redis_url", "second_redis", "sent"} & set(_test.__annotations__):
        globals()[_name] = _test


@pytest.fixture(scope="module", params=[{}, QUORUM], ids=["classic", "quorum"])
def running(
    request: pytest.FixtureRequest, rabbitmq: RabbitMQ, redis_server: EmbeddedRedis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:  # fmt: skip
    folder, url = tmp_path_factory.mktemp("queues"), rabbitmq.fresh_url()
    with deployed(project, folder, empty_database(redis_server), broker_url=url, celery=request.param) as deployment:
        deployment.worker()
        yield deployment


def test_info_counts_the_consumers(client: Client) -> None:
    assert client.call("app:info", orders, timeout=10)["consumer_count"] == 1


@pytest.mark.parametrize("pool", ["threads", "prefork"])
@KINDS
def test_a_message_in_the_hands_of_a_killed_worker_comes_to_another_one(
    rabbitmq: RabbitMQ, redis_url: str, tmp_path: Path, kind: dict[str, Any], pool: str
) -> None:
    """RabbitMQ sees the connection break. Only quorum queues count how often that has happened to a message."""
    with deployed(project, tmp_path, redis_url, broker_url=rabbitmq.fresh_url(), celery=kind) as deployment:
        first = deployment.worker(pool=pool, concurrency=1)
        publish(deployment.client, slow, "4s")
        wait_until(lambda: read_notes(tmp_path, "slow"), deadline_s=20)
        first.kill()
        deployment.worker(pool=pool, concurrency=1)
        wait_until(lambda: ["ends"] in read_notes(tmp_path, "slow"), deadline_s=40)
        assert read_notes(tmp_path, "slow") == [["begins", 0], ["begins", int(bool(kind))], ["ends"]]


@KINDS
def test_a_consumer_outlives_a_restart_of_the_broker(
    second_rabbitmq: RabbitMQ, redis_url: str, tmp_path: Path, kind: dict[str, Any]
) -> None:
    """What is published has reached the broker when ``publish`` returns: also a SIGKILL loses none of it."""
    url = second_rabbitmq.fresh_url()
    with deployed(project, tmp_path, redis_url, broker_url=url, celery=kind) as deployment:
        deployment.worker()
        for number in range(20):
            assert publish(deployment.client, "app:idle", number)["ok"]
        if kind:
            wait_until(lambda: all(map(second_rabbitmq.has_written, ("idle", "slow"))), deadline_s=20, every_s=0.1)
        publish(deployment.client, slow, "2s")
        wait_until(lambda: read_notes(tmp_path, "slow"), deadline_s=20, message="in hand")
        second_rabbitmq.kill()
        second_rabbitmq.start()

        def info() -> Any:
            return deployment.client.call("app:info", "app:idle", timeout=60)

        wait_until(lambda: info()["message_count"] == 20, deadline_s=60, every_s=0.2, message=lambda: f"{info()}")
        wait_until(lambda: read_notes(tmp_path, "slow").count(["ends"]) >= 2, deadline_s=60, message="again")
        publish(deployment.client, slow, "1ms")
        wait_until(lambda: deployment.client.call("app:info", slow, timeout=10)["message_count"] == 0, deadline_s=30)


def test_prefetch_bounds_what_a_consumer_holds(rabbitmq: RabbitMQ, redis_url: str, tmp_path: Path) -> None:
    """The messages behind the prefetch wait at the broker, for other consumers."""
    url = rabbitmq.fresh_url()
    with deployed(project, tmp_path, redis_url, broker_url=url) as deployment:
        deployment.worker()
        for _ in range(20):
            publish(deployment.client, slow, "20s")
        wait_until(lambda: read_notes(tmp_path, "slow"), deadline_s=20)
        with Connection(url) as connection:
            waiting = connection.default_channel.queue_declare("slow", passive=True).message_count
        assert waiting == 20 - 10, "10 is the default prefetch"
