"""RabbitMQ as the broker, and workers or the broker die in the middle, or messages come twice."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.client import WorkflowHandle
from tests.support import wait_until
from tests.support.errands import errands, run_errands
from tests.support.projects import Deployment, Project, deployed
from tests.support.rabbitmq import RabbitMQ

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

QUORUM = {"task_default_queue_type": "quorum", "task_create_missing_queue_type": "quorum"}
KINDS = pytest.mark.parametrize("kind", [{}, QUORUM], ids=["classic", "quorum"])
Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(redis_url: str, rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Deploy]:
    """Deploy the errands: ``deploy(kind, url="", project=...)``."""
    with contextlib.ExitStack() as stack:

        def start(kind: dict[str, Any], *, url: str = "", project: Project | None = None) -> Deployment:
            made = deployed(
                project or errands(env={"ORCHESTRATION_DEAD_AFTER_MS": "3s"}), tmp_path, redis_url,
                broker_url=url or rabbitmq.fresh_url(), celery=kind,
            )  # fmt: skip
            return stack.enter_context(made)

        yield start


def is_in_step(handle: WorkflowHandle) -> bool:
    return any(call.state == "claimed" for call in handle.describe().pending)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
@KINDS
def test_a_worker_is_killed_in_the_middle(deploy: Deploy, kind: dict[str, Any], pool: str) -> None:
    """What it executed is tried again elsewhere, what it had only fetched goes back to the queue by itself."""
    deployment = deploy(kind)
    first = deployment.worker(pool=pool, concurrency=2)
    steps = [deployment.client.start_workflow("app:long_step", uuid.uuid4().hex, 5) for _ in range(4)]
    wait_until(lambda: sum(map(is_in_step, steps)) == 2, deadline_s=30, every_s=0.05, message="two at work")
    deployment.worker(pool=pool)
    first.kill()
    for step in steps:
        assert step.result(timeout=60) == ["slept", 42]
    run_errands(deployment.client)


@pytest.mark.parametrize("how", ["kill", "stop"])
@KINDS
def test_the_broker_goes_away_and_comes_back_in_the_middle(
    second_rabbitmq: RabbitMQ, deploy: Deploy, kind: dict[str, Any], how: str
) -> None:
    """A classic queue may have lost what it had confirmed to nobody; the store knows what is open."""
    deployment = deploy(kind, url=second_rabbitmq.fresh_url())
    deployment.worker()
    errands_done = run_errands(deployment.client, 1)
    naps = [deployment.client.start_workflow("app:nap", ms) for ms in (1000, 4000, 12_000)]
    steps = [deployment.client.start_workflow("app:long_step", uuid.uuid4().hex, 3) for _ in range(2)]
    wait_until(lambda: all(map(is_in_step, steps)), deadline_s=30, message="at work")
    getattr(second_rabbitmq, how)()
    late = deployment.client.start_workflow("app:nap", 10)  # is written, whether it can be published or not
    second_rabbitmq.start()
    for step in steps:
        assert step.result(timeout=90) == ["slept", 42]
    for nap, ms in zip([*naps, late], (1000, 4000, 12_000, 10), strict=True):
        assert nap.result(timeout=90) == ms
    run_errands(deployment.client)
    assert errands_done


@KINDS
def test_every_message_comes_twice(deploy: Deploy, kind: dict[str, Any]) -> None:
    project = errands()
    project.tasks = (*project.tasks, "tests.support.twice")
    deployment = deploy(kind, project=project)
    deployment.worker()
    deployment.worker()
    for handle in run_errands(deployment.client):
        targets = [event.target for event in handle.history() if type(event).__name__ == "ScheduleActivity"]
        assert targets.count("app:add") == 4
    key = uuid.uuid4().hex
    assert deployment.client.start_workflow("app:long_step", key, 0.5).result(timeout=30) == ["slept", 42]
    assert len(deployment.app.send_task("accept.seen", [key]).get(timeout=10)) <= 1
