"""Activities on one worker that has never heard of the package: each outcome reaches the workflow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from orchestration.client import WorkflowHandle
from orchestration.embedded import EmbeddedRedis
from orchestration.store.attempts import AttemptId
from orchestration.tasks.messages import attempt_task_id
from tests.interop.project import FOLDER, bodies, shop, shop_worker
from tests.support import wait_until
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
        shop_worker(deployment, concurrency=6)
        yield deployment


@pytest.fixture(scope="module", autouse=True)
def long_ones(running: Deployment) -> dict[str, WorkflowHandle]:
    """Runs that take their time, begun together."""
    twice = {"initial_interval": "1500ms", "maximum_attempts": 2}
    return {
        "ignores": start(running, "ignores", "ignores", start_to_close_timeout="1s"),
        "slow": start(running, "slow", "slow", 7, schedule_to_start_timeout="1500ms"),
        "hard": start(running, "hard", "hard", retry_policy=twice),
        "soft": start(running, "soft", "soft"),
        "soft_caught": start(running, "soft_caught", "caught"),
        "unheard_of": start(running, "unheard_of"),
        "nobody": start(running, "price", "a", task_queue="nobody.reads", schedule_to_start_timeout="1s"),
    }


def start(running: Deployment, target: str, *args: Any, **options: Any) -> WorkflowHandle:
    """A workflow that calls the target."""
    given = {**ONCE, **{f"activity.{name}": value for name, value in options.items()}}
    return running.client.start_workflow(call, target, given, *args)


def outcome(running: Deployment, target: str, *args: Any, **options: Any) -> dict[str, Any]:
    """What a workflow gets that calls the target."""
    result = start(running, target, *args, **options).result(timeout=30)
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


def test_time_limits_of_the_task_arrive(long_ones: dict[str, WorkflowHandle]) -> None:
    assert long_ones["soft_caught"].result(timeout=30) == {"result": "cleaned up"}
    seen = long_ones["soft"].result(timeout=30)
    assert (seen["kind"], seen["details"]["exception"]) == ("Internal", "SoftTimeLimitExceeded")


def test_a_second_report_is_dropped_and_counted(running: Deployment, long_ones: dict[str, WorkflowHandle]) -> None:
    """A hard time limit calls the errback twice; while the next attempt waits, the run is open to count the second."""
    handle = long_ones["hard"]
    seen = handle.result(timeout=30)
    assert (seen["kind"], seen["details"]["timeout_type"]) == ("Timeout", "time_limit")
    record = running.orchestration.runtime.store("default").runs.record(handle.run_id)
    assert record.number("dropped:other attempt") == 1
    assert bodies(running, "hard") == 2


def task_id(running: Deployment, handle: WorkflowHandle) -> str:
    """Celery task id of the first attempt of a run's first activity, once its body has begun or waits."""
    store = running.orchestration.runtime.store("default")
    found = wait_until(lambda: store.attempts.read(handle.run_id, 1), message="an open activity")
    return attempt_task_id(AttemptId(handle.run_id, 1, found[1].attempt, found[1].token))


def test_a_task_that_is_not_registered_is_found_by_its_result(long_ones: dict[str, WorkflowHandle]) -> None:
    seen = long_ones["unheard_of"].result(timeout=30)
    assert (seen["kind"], seen["details"]["exception"]) == ("NotFound", "NotRegistered")


def test_what_leaves_nothing_at_all_times_out(running: Deployment, long_ones: dict[str, WorkflowHandle]) -> None:
    seen = long_ones["ignores"].result(timeout=30)
    assert seen["kind"] == "Timeout"
    assert seen["details"]["timeout_type"] == "start_to_close"
    assert seen["message"].endswith("a worker without the extension has taken it, and no outcome of it has been seen")
    assert bodies(running, "ignores") == 1, "not sent again"


def test_a_revoked_task_is_canceled(running: Deployment) -> None:
    handle = start(running, "slow", "revoked", 30)
    wait_until(lambda: bodies(running, "revoked") == 1)
    running.app.control.revoke(task_id(running, handle), terminate=True)
    seen = handle.result(timeout=30)
    assert (seen["kind"], seen["message"]) == ("Canceled", "the task of shop:slow was revoked")


def test_a_started_attempt_is_not_taken_for_one_that_nobody_starts(
    running: Deployment, long_ones: dict[str, WorkflowHandle]
) -> None:
    """Nobody claims it, and it runs for longer than the sweep waits for a message."""
    assert long_ones["slow"].result(timeout=30)["result"]["id"]
    assert bodies(running, "slow") == 1


def test_an_attempt_that_waits_in_its_queue_was_not_started(long_ones: dict[str, WorkflowHandle]) -> None:
    seen = long_ones["nobody"].result(timeout=30)
    assert (seen["kind"], seen["details"]["timeout_type"]) == ("Timeout", "schedule_to_start")


def test_results_are_deleted_once_they_were_reported(running: Deployment) -> None:
    assert outcome(running, "price", "apple") == {"result": {"sku": "apple", "cents": 250}}
    assert outcome(running, "reserve", "again", "pears")["kind"] == "Internal"
    workflows = len(running.client.list_workflows())
    with contextlib.closing(redis.Redis.from_url(running.redis_url)) as client:

        def left() -> int:
            return len(list(client.scan_iter("celery-task-meta-*"))) - workflows

        # Those of the two that make an invoice are the shop's own, and what no outcome reported leaves is nothing.
        wait_until(lambda: left() <= 2, deadline_s=30, message=lambda: f"{left()} results are left")


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
            # That of each workflow is kept, as everybody's who waits for it; it is stored a moment after its end.
            results = client.keys
            wait_until(lambda: len(results("celery-task-meta-*")) >= 3, deadline_s=30)
            assert len(results("celery-task-meta-*")) == 3
        assert outcome(deployment, "invoice", ["apple", "pear"]) == {"result": 500}
        assert "Task orchestration.report[" in worker.log(), "it came from what the task was replaced by"
