"""RabbitMQ as the broker, the store on Redis: what the engine promises does not depend on the broker."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import pytest

from orchestration.embedded import EmbeddedRedis
from tests.support.errands import errands, lateness_ms, run_errands
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, deployed
from tests.support.rabbitmq import RabbitMQ

project = errands()

QUORUM = {"task_default_queue_type": "quorum", "task_create_missing_queue_type": "quorum"}
"""With Celery's default exchange, a direct one: nothing can be delayed by the broker."""
DELAYING = {**QUORUM, "task_default_exchange_type": "topic", "task_create_missing_queue_exchange_type": "topic"}
"""The broker delays messages, by whole seconds."""


_KINDS = [
    pytest.param({}, id="classic", marks=pytest.mark.slow),
    pytest.param(QUORUM, id="quorum"),
    pytest.param(DELAYING, id="delaying", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=_KINDS)
def on_rabbitmq(
    request: pytest.FixtureRequest, rabbitmq: RabbitMQ, redis_server: EmbeddedRedis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:  # fmt: skip
    """One worker for the queues of this kind."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    url = rabbitmq.fresh_url()
    with deployed(project, folder, empty_database(redis_server), broker_url=url, celery=request.param) as deployment:
        deployment.worker()
        yield deployment


def complaints(deployment: Deployment) -> list[str]:
    """What the workers say that they should not have to."""
    lines = [line for worker in deployment.workers for line in worker.log().splitlines()]
    wrong = ("ERROR/", "CRITICAL/", "left to the next sweep", "Direct exchanges are not supported", "seems lost")
    return [line for line in lines if any(word in line for word in wrong) and "accept.info" not in line]


def test_all_that_workflows_do(on_rabbitmq: Deployment) -> None:
    run_errands(on_rabbitmq.client)
    assert not complaints(on_rabbitmq)


def test_timers_are_on_time(on_rabbitmq: Deployment) -> None:
    """Quorum queues with a topic exchange delay by whole seconds, and refuse to delay by less than one."""
    naps = [400, 900, 1600, 2300]
    handles = [on_rabbitmq.client.start_workflow("app:nap", ms) for ms in naps]
    late = []
    for handle, ms in zip(handles, naps, strict=True):
        assert handle.result(timeout=30) == ms
        late.append(lateness_ms(handle, ms))
    assert min(late) >= 0
    assert median(late) < 500, late
    assert max(late) < 2500, late  # the machine has other tests to run
    assert not complaints(on_rabbitmq)
