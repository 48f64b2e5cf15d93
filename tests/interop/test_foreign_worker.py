"""Activities on one worker that has never heard of the package: each outcome reaches the workflow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestration.embedded import EmbeddedRedis
from tests.interop.project import FOLDER, bodies, shop, shop_worker
from tests.support.fixtures import empty_database
from tests.support.projects import Deployment, deployed
from tests.support.workers import ROOT

project, call = shop()

ONCE = {"activity.retry_policy": {"maximum_attempts": 1}}


@pytest.fixture(scope="module")
def running(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One worker with the extension for the workflows, one without for the tasks."""
    with deployed(project, tmp_path_factory.mktemp("shop"), empty_database(redis_server)) as deployment:
        deployment.worker()
        shop_worker(deployment, concurrency=4)
        yield deployment


def outcome(running: Deployment, target: str, *args: Any, timeout: float = 30, **options: Any) -> dict[str, Any]:
    """What a workflow gets that calls the target."""
    given = {**ONCE, **{f"activity.{name}": value for name, value in options.items()}}
    result = running.client.start_workflow(call, target, given, *args).result(timeout=timeout)
    assert isinstance(result, dict)
    return result


def test_the_worker_knows_nothing_of_the_package(running: Deployment) -> None:
    seen = outcome(running, "who")["result"]
    assert seen["extension"] is False
    assert seen["headers"] == ["orchestration"]
    assert len(seen["key"]) == 36, "the idempotency key is in the header"


@pytest.mark.parametrize(
    ("target", "args", "result"),
    [
        ("price", ["apple", 2], {"sku": "apple", "cents": 500}),
        ("ship", ["ship", 2], {"shipped": True}),
        ("pack", ["pack", 2], {"retries": 2}),
        ("soft_caught", ["caught"], "cleaned up"),
        ("quiet", ["quiet"], "quiet"),
        ("send_mail", ["ana"], "sent to ana"),
        ("invoice", [["apple", "pear"]], 500),
    ],
)
def test_a_result_arrives(running: Deployment, target: str, args: list[Any], result: Any) -> None:
    assert outcome(running, target, *args) == {"result": result}


@pytest.mark.parametrize(
    ("target", "args", "kind", "message", "details"),
    [
        ("reserve", ["reserve", "pears"], "Internal", "OutOfStock: no pears left", {"exception": "OutOfStock"}),
        ("ship", ["busy", 9], "Internal", "Busy: the carrier is busy", {"exception": "Busy"}),
        ("price", [], "Internal", "TypeError: ", {"exception": "TypeError"}),
        ("soft", ["soft"], "Internal", "SoftTimeLimitExceeded", {"exception": "SoftTimeLimitExceeded"}),
        ("hard", ["hard"], "Timeout", "TimeLimitExceeded", {"timeout_type": "time_limit"}),
        ("rejects", ["rejects"], "Unavailable", "Reject: ", {"exception": "Reject"}),
        ("dies", ["dies"], "Unavailable", "WorkerLostError: ", {"worker_lost": True}),
        ("quiet", ["quiet-failure", True], "Internal", "OutOfStock: quietly", {"exception": "OutOfStock"}),
        ("odd", [], "Invalid", "EncodeError: ", {"exception": "EncodeError"}),
    ],
)
def test_a_failure_arrives(
    running: Deployment, target: str, args: list[Any], kind: str, message: str, details: dict[str, Any]
) -> None:
    seen = outcome(running, target, *args)
    assert seen["kind"] == kind, seen
    assert seen["message"].startswith(message)
    assert seen["details"].items() >= details.items()


def test_a_failed_attempt_is_tried_again(running: Deployment) -> None:
    policy = {"initial_interval": "100ms", "maximum_attempts": 3}
    assert outcome(running, "dies", "dies-twice", 2, retry_policy=policy) == {"result": "alive"}
    assert bodies(running, "dies-twice") == 3


def test_a_second_report_is_dropped_and_counted(running: Deployment) -> None:
    """A hard time limit calls the errback twice; while the next attempt waits, the run is open to count the second."""
    options = {"activity.retry_policy": {"initial_interval": "1500ms", "maximum_attempts": 2}}
    handle = running.client.start_workflow(call, "hard", options, "twice")
    assert handle.result(timeout=30)["kind"] == "Timeout"
    record = running.orchestration.runtime.store("default").runs.record(handle.run_id)
    assert record.number("dropped:other attempt") == 1
    assert bodies(running, "twice") == 2


def test_workers_with_the_extension_publish_no_report(running: Deployment, redis_url: str, tmp_path: Path) -> None:
    """They report by themselves; the task's own retry and replace keep the links for whoever runs the rest."""
    own = project.copy(tasks=["shop_project.tasks"])
    with deployed(own, tmp_path, redis_url) as deployment:
        env = {"SHOP_LEDGER": str(tmp_path), "PYTHONPATH": f"{FOLDER}{os.pathsep}{ROOT}"}
        worker = deployment.worker(queues=["celery", "shop", "shop.mail"], env=env)
        assert outcome(deployment, "price", "apple") == {"result": {"sku": "apple", "cents": 250}}
        assert outcome(deployment, "reserve", "x", "pears")["kind"] == "Internal"
        assert outcome(deployment, "pack", "pack", 2) == {"result": {"retries": 2}}
        assert "Task orchestration.report" not in worker.log()
        with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
            # That of each workflow is kept, as everybody's who waits for it.
            assert len(list(client.scan_iter("celery-task-meta-*"))) == 3
        assert outcome(deployment, "invoice", ["apple", "pear"]) == {"result": 500}
        assert "Task orchestration.report[" in worker.log(), "it came from what the task was replaced by"
